package core

// Constraint limits the nodes and targets that a service's instances may be on. All of a service's
// constraints have to hold.
type Constraint struct {
	// Attribute is what is looked at: "node.name", "node.labels.rack", "driver.version", "target.name".
	Attribute string             `json:"attribute"`
	Operator  ConstraintOperator `json:"operator"`
	Values    []string           `json:"values,omitempty"` // one for = and !=, sorted for in and not_in, none else
}

// ConstraintOperator says how an attribute has to relate to the values.
type ConstraintOperator string

// The operators of a constraint. An attribute that a node does not have is unequal to everything.
const (
	ConstraintEqual     ConstraintOperator = "="
	ConstraintNotEqual  ConstraintOperator = "!="
	ConstraintIn        ConstraintOperator = "in"
	ConstraintNotIn     ConstraintOperator = "not_in"
	ConstraintExists    ConstraintOperator = "exists"
	ConstraintNotExists ConstraintOperator = "not_exists"
)

// Spread asks for a service's instances to be spread evenly over the values of an attribute, before they
// are spread over nodes. Nodes without the attribute count as having one more value.
type Spread struct {
	Attribute string `json:"attribute"` // as a Constraint's
}

// DrainView is how far the emptying of a node has come.
type DrainView struct {
	Node  string      `json:"node"`
	Drain *Drain      `json:"drain,omitempty"` // nil: the node takes instances
	Left  []DrainLeft `json:"left"`            // what is still there, by service
	Done  bool        `json:"done"`            // it is to be empty, and is
}

// DrainLeft are the instances of a service on a node that is being emptied.
type DrainLeft struct {
	Service   string `json:"service"`
	Instances int    `json:"instances"`
	Ending    int    `json:"ending"`            // of those, the ones on their way out already
	Waiting   string `json:"waiting,omitempty"` // what the service waits for, in a sentence
}
