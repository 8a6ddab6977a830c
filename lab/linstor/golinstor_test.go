package linstor

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/LINBIT/golinstor/client"
	"github.com/google/go-cmp/cmp"

	api "github.com/LINBIT/golinstor"
)

const mib = 1024 // KiB

// cluster is a stand-in with three nodes, and the vendor's client of it. All
// that is said is compared with the OpenAPI document, where there is one.
func cluster(t *testing.T, o Options) (*Controller, *client.Client) {
	t.Helper()
	if d, ok := openAPI(t); ok && o.Watch == nil {
		o.Watch = func(e Exchange) {
			for _, text := range d.check(e) {
				t.Error(text)
			}
		}
	}
	c := New(o)
	for _, n := range []string{"kvm01", "kvm02", "store"} {
		c.AddNode(n, Pool{Name: "thin", Kind: "LVM_THIN", TotalKiB: 1024 * mib})
	}
	c.AddGroup(Group{Name: "rg"})
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	base, err := url.Parse(s.URL)
	must(t, err)
	l, err := client.NewClient(client.BaseURL(base), client.Log(nil), client.HTTPClient(http.DefaultClient),
		client.BasicAuth(&client.BasicAuthCfg{Username: o.User, Password: o.Password}))
	must(t, err)
	return c, l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func spawn(t *testing.T, l *client.Client, name string) {
	t.Helper()
	must(t, l.ResourceGroups.Spawn(t.Context(), "rg", client.ResourceGroupSpawn{ResourceDefinitionName: name, VolumeSizes: []int64{mib}}))
}

func wantResources(t *testing.T, c *Controller, name string, want ...string) {
	t.Helper()
	d, ok := c.Definition(name)
	if diff := cmp.Diff(want, d.Resources); !ok || diff != "" {
		t.Errorf("resources of %s (-want +got):\n%s", name, diff)
	}
}

// The life of a volume, in the words of the vendor's client.
func TestLifeOfAVolume(t *testing.T) {
	c, l := cluster(t, Options{User: "u", Password: "p"})
	ctx := t.Context()
	c.AddNode("kvm03")
	c.AddNode("kvm04")
	spawn(t, l, "vol1")
	wantResources(t, c, "vol1", "kvm01", "kvm02", "kvm03 tie-breaker")

	for _, n := range []string{"kvm01", "kvm03", "kvm04"} { // a replica, a tie-breaker, nothing
		must(t, l.Resources.MakeAvailable(ctx, "vol1", n, client.ResourceMakeAvailable{}))
	}
	wantResources(t, c, "vol1", "kvm01", "kvm02", "kvm03 diskless", "kvm04 diskless")
	view, err := l.Resources.GetResourceView(ctx, &client.ListOpts{Resource: []string{"vol1"}})
	must(t, err)
	if len(view) != 4 || view[0].State == nil || *view[0].State.InUse || view[0].Volumes[0].UsableSizeKib != mib {
		t.Errorf("view: %+v", view)
	}

	must(t, l.Resources.Delete(ctx, "vol1", "kvm04"))
	must(t, l.Resources.Delete(ctx, "vol1", "kvm03"))
	wantResources(t, c, "vol1", "kvm01", "kvm02", "kvm03 tie-breaker")

	must(t, l.ResourceDefinitions.ModifyVolumeDefinition(ctx, "vol1", 0, client.VolumeDefinitionModify{SizeKib: 2 * mib}))
	all, err := l.ResourceDefinitions.GetAll(ctx, client.RDGetAllRequest{ResourceDefinitions: []string{"VOL1"}, WithVolumeDefinitions: true})
	must(t, err)
	if len(all) != 1 || all[0].VolumeDefinitions[0].SizeKib != 2*mib || all[0].ResourceGroupName != "rg" {
		t.Errorf("definitions: %+v", all)
	}
	must(t, l.ResourceDefinitions.Delete(ctx, "vol1"))
	if _, ok := c.Definition("vol1"); ok {
		t.Error("vol1 is still there")
	}
}

// An exact size comes before anything is deployed, and blocks a resize.
func TestExactSize(t *testing.T) {
	c, l := cluster(t, Options{})
	ctx := t.Context()
	for _, n := range []string{"kvm01", "kvm02", "store"} {
		c.AddNode(n, Pool{Name: "thin", Kind: "LVM_THIN", TotalKiB: 1024 * mib, ExtentKiB: 4 * mib})
	}
	usable := func() int64 {
		v, err := l.Resources.GetVolume(ctx, "vol1", "kvm01", 0)
		if err == nil {
			return v.UsableSizeKib
		}
		view, err := l.Resources.GetResourceView(ctx, &client.ListOpts{Node: []string{"kvm01"}})
		must(t, err)
		return view[0].Volumes[0].UsableSizeKib
	}
	exact := client.GenericPropsModify{OverrideProps: client.OverrideProps{exactSize: "true"}}
	must(t, l.ResourceGroups.Spawn(ctx, "rg", client.ResourceGroupSpawn{
		ResourceDefinitionName: "vol1", VolumeSizes: []int64{5 * mib}, DefinitionsOnly: true}))
	must(t, l.ResourceDefinitions.Modify(ctx, "vol1", exact))
	must(t, l.Resources.Autoplace(ctx, "vol1", client.AutoPlaceRequest{}))
	if n := usable(); n != 5*mib {
		t.Errorf("exact: %d KiB", n)
	}
	bigger := client.VolumeDefinitionModify{SizeKib: 9 * mib}
	if err := l.ResourceDefinitions.ModifyVolumeDefinition(ctx, "vol1", 0, bigger); !client.IsApiCallError(err, api.FailInvldProp) {
		t.Errorf("resize of an exact one: %v", err)
	}
	must(t, l.ResourceDefinitions.Modify(ctx, "vol1", client.GenericPropsModify{DeleteProps: []string{exactSize}}))
	must(t, l.ResourceDefinitions.ModifyVolumeDefinition(ctx, "vol1", 0, bigger))
	if n := usable(); n != 12*mib {
		t.Errorf("not exact: %d KiB", n)
	}
	if err := l.ResourceDefinitions.Modify(ctx, "vol1", exact); !client.IsApiCallError(err, api.FailInvldProp) {
		t.Errorf("exact after it was deployed: %v", err)
	}
}

// Two primaries: two diskless nodes have no connection, others have.
func TestTwoPrimaries(t *testing.T) {
	c, l := cluster(t, Options{NoTieBreaker: true})
	ctx := t.Context()
	c.AddNode("a")
	c.AddNode("b")
	c.SetOnline("store", false)
	spawn(t, l, "vol1")
	for _, n := range []string{"a", "b"} {
		must(t, l.Resources.MakeAvailable(ctx, "vol1", n, client.ResourceMakeAvailable{}))
	}
	on := client.GenericPropsModify{OverrideProps: client.OverrideProps{allowTwo: "yes"}}
	off := client.GenericPropsModify{DeleteProps: client.DeleteProps{allowTwo}}
	want := func(what string, pairs ...string) {
		t.Helper()
		d, _ := c.Definition("vol1")
		if diff := cmp.Diff(pairs, d.TwoPrimaries); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	must(t, l.Connections.SetResourceConnection(ctx, "vol1", "b", "a", on))
	want("a connection that is none")
	must(t, l.Connections.SetResourceConnection(ctx, "vol1", "b", "a", off))
	must(t, l.Connections.SetResourceConnection(ctx, "vol1", "kvm01", "a", on))
	want("one diskless", "a+kvm01")
	must(t, l.Connections.SetResourceConnection(ctx, "vol1", "kvm01", "a", off))
	must(t, l.ResourceDefinitions.Modify(ctx, "vol1", on))
	want("the whole resource", "a+b", "a+kvm01", "a+kvm02", "b+kvm01", "b+kvm02", "kvm01+kvm02")
}

// What the controller refuses, and how.
func TestRefusals(t *testing.T) {
	c, l := cluster(t, Options{})
	ctx := t.Context()
	spawn(t, l, "vol1")
	c.AddNode("off")
	c.SetOnline("off", false)
	c.SetInUse("vol1", "kvm01", true)
	_, nodes := l.Nodes.Get(ctx, "nobody")
	for what, got := range map[string]struct {
		err  error
		code uint64
	}{
		"spawn again":      {l.ResourceGroups.Spawn(ctx, "rg", client.ResourceGroupSpawn{ResourceDefinitionName: "VOL1", VolumeSizes: []int64{1}}), api.FailExistsRscDfn},
		"too large":        {l.ResourceGroups.Spawn(ctx, "rg", client.ResourceGroupSpawn{ResourceDefinitionName: "big", VolumeSizes: []int64{1 << 30}}), api.FailNotEnoughNodes},
		"a bad name":       {l.ResourceGroups.Spawn(ctx, "rg", client.ResourceGroupSpawn{ResourceDefinitionName: "1", VolumeSizes: []int64{1}}), api.FailInvldRscName},
		"a node offline":   {l.Resources.MakeAvailable(ctx, "vol1", "off", client.ResourceMakeAvailable{}), api.FailNotConnected},
		"delete in use":    {l.ResourceDefinitions.Delete(ctx, "vol1"), api.FailInUse},
		"smaller":          {l.ResourceDefinitions.ModifyVolumeDefinition(ctx, "vol1", 0, client.VolumeDefinitionModify{SizeKib: 1}), api.FailInvldVlmSize},
		"an unknown group": {l.ResourceGroups.Spawn(ctx, "nobody", client.ResourceGroupSpawn{ResourceDefinitionName: "x", VolumeSizes: []int64{1}}), 0},
		"an unknown node":  {nodes, 0},
		"unknown":          {l.ResourceDefinitions.Delete(ctx, "nobody"), 0},
	} {
		if got.code == 0 && got.err != client.NotFoundError || got.code != 0 && !client.IsApiCallError(got.err, got.code) {
			t.Errorf("%s: %v", what, got.err)
		}
	}
	if _, ok := c.Definition("vol1"); !ok {
		t.Error("vol1 is gone")
	}
}

// A volume whose node is offline is deleted when the node comes back.
func TestDeleteWaitsForOfflineNode(t *testing.T) {
	c, l := cluster(t, Options{})
	spawn(t, l, "vol1")
	c.SetOnline("kvm01", false)
	must(t, l.ResourceDefinitions.Delete(t.Context(), "vol1"))
	if d, ok := c.Definition("vol1"); !ok || !d.Deleting || !slices.Equal(d.Resources, []string{"kvm01"}) {
		t.Errorf("%+v", d)
	}
	c.SetOnline("kvm01", true)
	if d, ok := c.Definition("vol1"); ok {
		t.Errorf("%+v", d)
	}
}

func TestLoginAndPassive(t *testing.T) {
	c, l := cluster(t, Options{Token: "t"})
	if _, err := l.Nodes.GetAll(t.Context()); !client.IsApiCallError(err, api.FailAccDeniedCommand) {
		t.Errorf("without a login: %v", err)
	}
	c.SetPassive(true)
	if _, err := l.Nodes.GetAll(t.Context()); err == nil || client.IsApiCallError(err, api.FailAccDeniedCommand) {
		t.Errorf("passive: %v", err)
	}
}

// Each fault is an error, or the call was done.
func TestFaults(t *testing.T) {
	for _, kind := range FaultKinds() {
		c, l := cluster(t, Options{})
		spawn(t, l, "vol1")
		var struck atomic.Bool
		c.FailAt(2, Fault{Kind: kind, Then: func() { struck.Store(true) }})
		_, first := l.Nodes.GetAll(t.Context())
		deleted := l.ResourceDefinitions.Delete(t.Context(), "vol1")
		_, there := c.Definition("vol1")
		undone := slices.Contains([]FaultKind{LostBefore, Unauthorized, ServerError, Unavailable, PlainMissing, Nonsense}, kind)
		if first != nil || !struck.Load() || there != undone || deleted == nil && undone && kind != Nonsense {
			t.Errorf("%s: %v, %v, struck %v, there %v", kind, first, deleted, struck.Load(), there)
		}
		if calls := c.Calls(); len(calls) != 3 || !strings.HasSuffix(calls[2].String(), "["+string(kind)+"]") {
			t.Errorf("calls: %v", calls)
		}
	}
}
