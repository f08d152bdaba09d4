package meshwarden

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
)

// deploymentPeriod is how often the Deployment is looked at.
const deploymentPeriod = 100 * time.Millisecond

// Deployer plays the Deployment controller for whoever installs with kubectl: it starts the replicas of Meshwarden's
// Deployment when that appears, replaces them one by one when its template changes, starts and stops some when their number
// changes, stops them when it is gone, and writes its status.
type Deployer struct {
	options Options
	cp      *controlplane.ControlPlane
	client  client.Client
	// binary returns the program that stands for an image.
	binary func(image string) string

	stop    context.CancelFunc
	stopped sync.WaitGroup

	installation *Installation
	generation   int64
	template     corev1.PodTemplateSpec

	mu  sync.Mutex
	err error
}

// Deploy plays the Deployment controller until Stop. Of the options, those that say what to install are not used; binary
// returns the program that takes the place of an image.
func Deploy(cp *controlplane.ControlPlane, o Options, binary func(image string) string) (*Deployer, error) {
	c, err := client.New(cp.Config(), client.Options{})
	if err != nil {
		return nil, fmt.Errorf("play the Deployment controller: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &Deployer{options: o, cp: cp, client: c, binary: binary, stop: cancel}
	d.stopped.Go(func() { d.run(ctx) })
	return d, nil
}

// Stop stops every replica, and returns what went wrong since Deploy.
func (d *Deployer) Stop(ctx context.Context) error {
	d.stop()
	d.stopped.Wait()
	return errors.Join(d.err, d.remove(ctx))
}

// Err returns what went wrong so far. The Deployer does nothing more after the first fault.
func (d *Deployer) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

func (d *Deployer) run(ctx context.Context) {
	err := wait.PollUntilContextCancel(ctx, deploymentPeriod, true, func(ctx context.Context) (bool, error) {
		return false, d.step(ctx)
	})
	if ctx.Err() == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.err = fmt.Errorf("play the Deployment controller: %w", err)
	}
}

// step brings the replicas to what the Deployment says now.
func (d *Deployer) step(ctx context.Context) error {
	deployment := &appsv1.Deployment{}
	err := d.client.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: name}, deployment)
	switch {
	case apierrors.IsNotFound(err):
		return d.remove(ctx)
	case err != nil:
		return err
	case deployment.DeletionTimestamp != nil || deployment.Generation == d.generation:
		return nil
	case d.installation == nil:
		d.installation, err = Adopt(ctx, d.cp, Namespace, d.options)
	}
	if err == nil {
		err = d.update(ctx, deployment)
	}
	if err != nil {
		return err
	}
	d.generation, d.template = deployment.Generation, deployment.Spec.Template
	return d.report(ctx, deployment)
}

// update stops the replicas that are too many, replaces those of another template, and starts those that are missing.
func (d *Deployer) update(ctx context.Context, deployment *appsv1.Deployment) error {
	wanted, running := int(ptr.Deref(deployment.Spec.Replicas, 1)), d.installation.running()
	for _, r := range running[min(wanted, len(running)):] {
		if err := r.Stop(ctx); err != nil {
			return err
		}
	}
	if !equality.Semantic.DeepEqual(d.template, deployment.Spec.Template) {
		if _, err := d.installation.Rollout(ctx, d.replica(deployment)); err != nil {
			return err
		}
	}
	return d.start(ctx, deployment, wanted-len(running))
}

// start starts n replicas, if that is more than none, and waits for them to be ready.
func (d *Deployer) start(ctx context.Context, deployment *appsv1.Deployment, n int) error {
	var replicas []*Replica
	for range max(0, n) {
		r, err := d.installation.Start(ctx, d.replica(deployment))
		if err != nil {
			return err
		}
		replicas = append(replicas, r)
	}
	for _, r := range replicas {
		if err := r.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *Deployer) replica(deployment *appsv1.Deployment) ReplicaOptions {
	return ReplicaOptions{Binary: d.binary(deployment.Spec.Template.Spec.Containers[0].Image)}
}

// remove stops every replica.
func (d *Deployer) remove(ctx context.Context) error {
	if d.installation == nil {
		return nil
	}
	err := d.installation.Stop(ctx)
	d.installation, d.generation = nil, 0
	return err
}

// report writes the status of a Deployment whose replicas are all ready.
func (d *Deployer) report(ctx context.Context, deployment *appsv1.Deployment) error {
	n := ptr.Deref(deployment.Spec.Replicas, 1)
	condition := func(kind appsv1.DeploymentConditionType, reason string) appsv1.DeploymentCondition {
		return appsv1.DeploymentCondition{Type: kind, Status: corev1.ConditionTrue, Reason: reason, LastUpdateTime: metav1.Now()}
	}
	before := deployment.DeepCopy()
	deployment.Status = appsv1.DeploymentStatus{
		ObservedGeneration: deployment.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n,
		Conditions: []appsv1.DeploymentCondition{
			condition(appsv1.DeploymentAvailable, "MinimumReplicasAvailable"),
			condition(appsv1.DeploymentProgressing, "NewReplicaSetAvailable"),
		},
	}
	// Somebody may have changed or deleted it meanwhile, which the next step sees.
	return client.IgnoreNotFound(d.client.Status().Patch(ctx, deployment, client.MergeFrom(before)))
}
