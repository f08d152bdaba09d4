package cel

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	apiadmission "k8s.io/apiserver/pkg/admission"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"
)

// staticChecks is where the policies are.
var staticChecks = filepath.Join("..", "..", "manifests", "components", "static-checks")

// compiled is a policy, compiled as the API server does.
type compiled struct {
	policy    *admissionregistrationv1.ValidatingAdmissionPolicy
	validator validating.Validator
}

// newPolicy compiles the policy of a static check.
func newPolicy(t *testing.T, file string) compiled {
	t.Helper()
	return compile(t, filepath.Join(staticChecks, file))
}

// compile compiles the policy of a manifest.
func compile(t *testing.T, file string) compiled {
	t.Helper()
	return compileFor(t, file, environment.DefaultCompatibilityVersion())
}

// compileFor compiles it with what a version of Kubernetes has in its language.
func compileFor(t *testing.T, file string, kubernetes *version.Version) compiled {
	t.Helper()
	text, err := os.ReadFile(file)
	noError(t, err)
	document, _, _ := strings.Cut(string(text), "\n---\n")
	p := &admissionregistrationv1.ValidatingAdmissionPolicy{}
	noError(t, yaml.UnmarshalStrict([]byte(document), p))

	compiler, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(kubernetes))
	noError(t, err)
	options := plugincel.OptionalVariableDeclarations{HasParams: p.Spec.ParamKind != nil, HasAuthorizer: true}
	for _, v := range p.Spec.Variables {
		variable := &validating.Variable{Name: v.Name, Expression: v.Expression}
		if result := compiler.CompileAndStoreVariable(variable, options, environment.NewExpressions); result.Error != nil {
			t.Fatalf("%s: variable %s: %v", file, v.Name, result.Error)
		}
	}
	conditions := make([]plugincel.ExpressionAccessor, len(p.Spec.MatchConditions))
	for i := range p.Spec.MatchConditions {
		conditions[i] = (*matchconditions.MatchCondition)(&p.Spec.MatchConditions[i])
	}
	validations, messages := make([]plugincel.ExpressionAccessor, len(p.Spec.Validations)), make([]plugincel.ExpressionAccessor, len(p.Spec.Validations))
	for i, v := range p.Spec.Validations {
		validations[i] = &validating.ValidationCondition{Expression: v.Expression, Message: v.Message, Reason: v.Reason}
		if v.MessageExpression != "" {
			messages[i] = &validating.MessageExpressionCondition{MessageExpression: v.MessageExpression}
		}
	}
	condition := func(expressions []plugincel.ExpressionAccessor) plugincel.ConditionEvaluator {
		evaluator := compiler.CompileCondition(expressions, options, environment.NewExpressions)
		if faults := evaluator.CompilationErrors(); len(faults) > 0 {
			t.Fatalf("%s: %v", file, faults)
		}
		return evaluator
	}
	matcher := matchconditions.NewMatcher(condition(conditions), p.Spec.FailurePolicy, "policy", "validate", p.Name)
	return compiled{p, validating.NewValidator(condition(validations), matcher, condition(nil), condition(messages), p.Spec.FailurePolicy, nil)}
}

// objections are the messages of the policy about a request. What it cannot evaluate is an error of the test.
func (c compiled) objections(t *testing.T, r write) []string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.after.GetNamespace()}}
	return c.judge(t, r.attributes(), namespace, r.after.Object["spec"])
}

// judge returns the messages of the policy about a request. what is said of a request that it cannot evaluate.
func (c compiled) judge(t *testing.T, attributes *apiadmission.VersionedAttributes, namespace *corev1.Namespace, what any) []string {
	t.Helper()
	result := c.validator.Validate(t.Context(), attributes.GetResource(), attributes, nil, namespace, celconfig.RuntimeCELCostBudget, nil)
	var said []string
	for _, d := range result.Decisions {
		switch d.Evaluation {
		case validating.EvalError:
			t.Errorf("%s cannot judge %.1000s: %.1000s", c.policy.Name, fmt.Sprint(what), d.Message)
		case validating.EvalDeny:
			said = append(said, d.Message)
		}
	}
	return said
}
