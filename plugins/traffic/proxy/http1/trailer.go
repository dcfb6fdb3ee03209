package http1

// ForbiddenTrailer says whether a field must not come in a trailer, because it would change framing,
// routing or what the proxy says of the client (RFC 9110 section 6.5.1). It is dropped.
func ForbiddenTrailer(f Field) bool {
	if f.Kind != KindOther {
		return true
	}
	return EqualFold(f.Name, "trailer") || EqualFold(f.Name, "authorization") || EqualFold(f.Name, "set-cookie") ||
		EqualFold(f.Name, "cookie") || EqualFold(f.Name, "content-encoding") || EqualFold(f.Name, "content-type") ||
		EqualFold(f.Name, "content-range")
}
