package sdk

import (
	"strconv"
	"strings"
)

// Expand replaces ${port.NAME} by the port's number and ${instance.id} by the instance's id in a string
// of a workload's configuration or environment. $${ stands for a literal ${. Anything else between ${
// and } is InvalidConfig; the caller knows the attribute's path and sets it.
func Expand(text string, ports map[string]int, instance string) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	var out strings.Builder
	for rest := text; ; {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			out.WriteString(rest)
			return out.String(), nil
		}
		if escaped := strings.HasSuffix(before, "$"); escaped {
			out.WriteString(before[:len(before)-1] + "${")
			rest = after
			continue
		}
		out.WriteString(before)
		name, remaining, closed := strings.Cut(after, "}")
		if !closed {
			// Not the text itself, which may be a secret.
			at := len(text) - len(after) - len("${")
			return "", InvalidConfig("", "the ${ at byte %d is without its }; write $${ for a literal ${", at)
		}
		value, err := placeholder(name, ports, instance)
		if err != nil {
			return "", err
		}
		out.WriteString(value)
		rest = remaining
	}
}

func placeholder(name string, ports map[string]int, instance string) (string, error) {
	if name == "instance.id" {
		return instance, nil
	}
	if port, ok := strings.CutPrefix(name, "port."); ok {
		if number, ok := ports[port]; ok {
			return strconv.Itoa(number), nil
		}
		return "", InvalidConfig("", "${%s}: the service declares no port %q", name, port)
	}
	return "", InvalidConfig("", "${%s}: there is no such placeholder; there are ${port.NAME} and ${instance.id}, "+
		"and $${ for a literal ${", name)
}
