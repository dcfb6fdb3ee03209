package identity_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity"
)

func TestVouching(t *testing.T) {
	root := identity.Caller{Principal: "local:root", Role: core.AccessAdmin}
	deployer := identity.Caller{Principal: "cert:ci", Role: core.AccessDeployer, Services: []string{"shop"}}
	tests := map[string]struct {
		caller identity.Caller
		role   core.Role
		want   identity.Caller
	}{
		"a voter's root":               {root, core.RoleVoter, identity.Caller{Principal: "local:root@n2", Role: core.AccessAdmin, Via: "n2"}},
		"a worker's root may look":     {root, core.RoleWorker, identity.Caller{Principal: "local:root@n2", Role: core.AccessViewer, Via: "n2"}},
		"a voter's deployer":           {deployer, core.RoleVoter, identity.Caller{Principal: "cert:ci", Role: core.AccessDeployer, Services: []string{"shop"}, Via: "n2"}},
		"a worker's deployer may look": {deployer, core.RoleWorker, identity.Caller{Principal: "cert:ci", Role: core.AccessViewer, Via: "n2"}},
		"nobody":                       {identity.Caller{Principal: identity.Anonymous}, core.RoleVoter, identity.Caller{Principal: identity.Anonymous}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			header := http.Header{}
			if err := identity.Vouch(header, tt.caller); err != nil {
				t.Fatal(err)
			}
			ctx, err := identity.Vouched(t.Context(), header, "n2", tt.role)
			if err != nil {
				t.Fatal(err)
			}
			got := identity.CallerOf(ctx)
			if got.Principal != tt.want.Principal || got.Role != tt.want.Role || got.Via != tt.want.Via || !slices.Equal(got.Services, tt.want.Services) {
				t.Errorf("it is %+v, want %+v", got, tt.want)
			}
		})
	}
}

// A token speaks for itself: its holder is judged by whoever answers.
func TestNobodyVouchesForAToken(t *testing.T) {
	header := http.Header{"Authorization": {"Bearer x"}, "Instar-Vouched": {`{"principal":"local:root","role":"admin"}`}}
	if err := identity.Vouch(header, identity.Caller{Principal: "token:ci", Role: core.AccessAdmin}); err != nil {
		t.Fatal(err)
	}
	ctx, err := identity.Vouched(t.Context(), header, "n2", core.RoleVoter)
	if err != nil || identity.CallerOf(ctx).Role != "" {
		t.Errorf("vouched for %+v, %v", identity.CallerOf(ctx), err)
	}
	if len(header["Instar-Vouched"]) > 0 {
		t.Error("what a client has written travels on")
	}
}

func TestNonsenseIsNoVoucher(t *testing.T) {
	for _, text := range []string{"x", "{}", `{"role":"admin"}`} {
		if _, err := identity.Vouched(t.Context(), http.Header{"Instar-Vouched": {text}}, "n2", core.RoleVoter); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("%s: %v", text, err)
		}
	}
}
