package control

// NewWithBudget makes a controller whose transactions are full with fewer bytes, so that tests of what
// does not fit into one do not need thousands of instances.
func NewWithBudget(config Config, budget int) *Controller {
	c := New(config)
	c.budget = budget
	return c
}
