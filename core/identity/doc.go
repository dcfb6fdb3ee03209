// Package identity says who is calling. Over the unix socket the kernel does: the user at the other end
// is a principal of the form "local:NAME".
package identity
