// Package health finds out whether one instance serves.
//
// Machine turns the outcomes of one check into a verdict and says when to probe next; it is pure.
// Prober performs one probe over the network. Run joins both for all checks of an instance and reports
// changes of the verdict, nothing else.
package health
