package http1

import "strconv"

// AppendField appends one field line.
func AppendField(dst, name, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, ':', ' ')
	dst = append(dst, value...)
	return append(dst, '\r', '\n')
}

// AppendLength appends a Content-Length line.
func AppendLength(dst []byte, n int64) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, '\r', '\n')
}

// AppendStatus appends a status line of HTTP/1.1.
func AppendStatus(dst []byte, status int, reason []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, reason...)
	return append(dst, '\r', '\n')
}

// ChunkRoom is how much room before the data of a chunk its line needs at most, and ChunkTail behind.
const (
	ChunkRoom = 10 // 8 hexadecimal digits and CR LF
	ChunkTail = 2
)

// Chunk frames the n bytes at buf[ChunkRoom:] in place and returns the chunk. buf has ChunkTail more
// bytes of room behind the data.
func Chunk(buf []byte, n int) []byte {
	const digits = "0123456789abcdef"
	start := ChunkRoom - 2
	buf[start], buf[start+1] = '\r', '\n'
	for v := n; ; v >>= 4 {
		start--
		buf[start] = digits[v&15]
		if v < 16 {
			break
		}
	}
	end := ChunkRoom + n
	buf[end], buf[end+1] = '\r', '\n'
	return buf[start : end+ChunkTail]
}

// AppendLastChunk appends the end of a chunked body with its trailer; forbidden fields are dropped.
func AppendLastChunk(dst []byte, trailer []Field) []byte {
	dst = append(dst, '0', '\r', '\n')
	for _, f := range trailer {
		if !ForbiddenTrailer(f) {
			dst = AppendField(dst, f.Name, f.Value)
		}
	}
	return append(dst, '\r', '\n')
}
