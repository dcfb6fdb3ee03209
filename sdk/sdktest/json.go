package sdktest

import "encoding/json"

// withAttribute adds an attribute to a configuration; an empty value takes it away.
func withAttribute(t T, config json.RawMessage, name, value string) json.RawMessage {
	t.Helper()
	members := map[string]json.RawMessage{}
	if len(config) > 0 {
		if err := json.Unmarshal(config, &members); err != nil {
			t.Fatalf("the fixture's configuration is no JSON object: %v", err)
		}
	}
	members[name] = json.RawMessage(value)
	if value == "" {
		delete(members, name)
	}
	data, err := json.Marshal(members)
	if err != nil {
		t.Fatalf("configuration with %s: %v", name, err)
	}
	return data
}
