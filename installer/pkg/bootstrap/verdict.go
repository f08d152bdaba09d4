package bootstrap

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// operatorSilence is how long an operator that has just been rolled out may take to look at the IstioOperator. If it has not changed
// the status by then, it agrees with what stands there.
const operatorSilence = 30 * time.Second

// reported returns the IstioOperator as it is stored and its status, which is not current where it may be an earlier operator's.
func (i *installing) reported(ctx context.Context) (*unstructured.Unstructured, status, error) {
	stored := i.target.IstioOperator.DeepCopy()
	if err := i.Cluster.Client.Get(ctx, client.ObjectKeyFromObject(stored), stored); err != nil {
		return nil, status{}, fmt.Errorf("read %s: %w", title(stored), err)
	}
	s := statusOf(stored)
	v := verdict{generation: stored.GetGeneration(), before: i.before, operator: s.operator, expected: i.OperatorVersion}
	if s.current && !v.presentOperators() {
		since, err := i.rolledOut(ctx)
		if err != nil {
			return nil, status{}, err
		}
		if !since.IsZero() {
			v.silent = time.Since(since)
		}
		s.current = v.presentOperators()
	}
	return stored, s, nil
}

// verdict is what there is to tell by whether the status of an IstioOperator is the present operator's: an earlier one that was
// content would end the wait before the upgrade begins.
type verdict struct {
	// generation is what the status speaks of, before that of the IstioOperator before this run.
	generation, before int64
	// operator is the version of the program that wrote the status, expected the one that runs now, if that is known.
	operator, expected string
	// silent is how long the present operator has been available without contradicting.
	silent time.Duration
}

// presentOperators says whether the status is the present operator's. No single sign is enough: of an image of the user's own
// the version is not known, and two images may have the same; and an operator writes nothing where it has nothing to change.
func (v verdict) presentOperators() bool {
	switch {
	case v.generation != v.before:
		return true // written in this run, when the earlier operator was gone
	case v.expected != "" && v.operator == v.expected:
		return true
	default:
		return v.silent >= operatorSilence
	}
}

// rolledOut returns since when the operator has been available as it is described now: since the roll-out, or since this run first
// saw it, whichever is earlier: the roll-out's time is by the cluster's clock, which may be ahead of this machine's.
func (i *installing) rolledOut(ctx context.Context) (time.Time, error) {
	since := i.available
	for _, o := range i.target.Operator {
		if o.GetKind() != "Deployment" {
			continue
		}
		d := &appsv1.Deployment{}
		if err := i.Cluster.Client.Get(ctx, client.ObjectKeyFromObject(o), d); err != nil {
			return since, fmt.Errorf("read %s: %w", title(o), err)
		}
		for _, c := range d.Status.Conditions {
			complete := c.Type == appsv1.DeploymentProgressing && c.Reason == "NewReplicaSetAvailable"
			if complete && (since.IsZero() || c.LastUpdateTime.Time.Before(since)) {
				since = c.LastUpdateTime.Time
			}
		}
	}
	return since, nil
}
