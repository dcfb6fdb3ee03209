// Package identity says who is calling, and who speaks for which node. Its packages:
//
//   - identity itself: principals, and the names that certificates carry
//   - identity/ca: the cluster's certificate authority
//   - identity/keeper: one node's key and certificates, the TLS configurations made of them, their renewal
//   - identity/token:  the text of join tokens and of API tokens
//
// A principal is a string in the audit log: "local:USER" for a process at the unix socket (the kernel says
// which user it is; "local:USER@NODE" if the socket is another member's), "token:NAME" and "cert:NAME" for
// callers over TCP, "agent:NODE" for a member.
package identity
