// Package imports holds the rules about which part of instar may reach which, over all transitive
// imports, and the test that keeps them. Each ban carries its reason, which the test prints.
package imports
