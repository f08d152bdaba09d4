package conformance

import "math/rand/v2"

// draw makes the random choices of one case. They depend on nothing but the seed and the number of the case.
type draw struct{ *rand.Rand }

func newDraw(seed uint64, number int) draw {
	return draw{rand.New(rand.NewPCG(seed, uint64(number)))}
}

// chance is true in so many of 100 cases.
func (d draw) chance(percent int) bool {
	return d.IntN(100) < percent
}

// weight is a value with how often it comes, compared with the others.
type weight[T any] struct {
	value T
	times int
}

// weighted returns one of the values.
func weighted[T any](d draw, weights ...weight[T]) T {
	sum := 0
	for _, w := range weights {
		sum += w.times
	}
	n := d.IntN(sum)
	for _, w := range weights {
		if n -= w.times; n < 0 {
			return w.value
		}
	}
	return weights[0].value
}

// oneOf returns one of the values, each as often as the others.
func oneOf[T any](d draw, values ...T) T {
	return values[d.IntN(len(values))]
}
