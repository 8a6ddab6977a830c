package drbd

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/lab/drbdsim"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/pooltest"
)

// place is where the suite's cluster is; it travels to other processes.
type place struct{ Dir string }

// wrapped opens the suite's cluster.
var wrapped = pool.Driver{
	Type:     Driver.Type,
	Settings: func() any { return &place{} },
	Check:    func(any) map[string]string { return nil },
	Open: func(name string, settings any, _ *logrus.Entry) (pool.Backend, error) {
		p := settings.(*place)
		return &cluster{Cluster: drbdsim.Cluster{Dir: p.Dir}, pool: name, hosts: map[string]pool.Host{}}, nil
	},
}

func TestConformance(t *testing.T) {
	pooltest.Run(t, func(t *testing.T) pooltest.Fixture {
		c, err := drbdsim.New(t.TempDir(), os.Args[0], nodeNames()...)
		if err != nil {
			t.Fatal(err)
		}
		return pooltest.Fixture{
			Driver: wrapped, Pool: "p", Settings: &place{c.Dir},
			GoodNames: []string{"a", "0", "_", "vm-1.disk+0", strings.Repeat("x", 127)},
			Prepared:  true, PeerOwnersUnknown: true,
		}
	})
}

func TestSettings(t *testing.T) {
	good := Driver.Settings().(*Settings)
	if wrong := Driver.Check(good); len(wrong) > 0 {
		t.Errorf("the defaults: %v", wrong)
	}
	for key, spoil := range map[string]func(*Settings){
		"resources": func(s *Settings) { s.Resources = []string{"vm-["} },
		"timeout":   func(s *Settings) { s.Timeout = 0 },
	} {
		s := *good
		spoil(&s)
		if wrong := Driver.Check(&s); len(wrong) != 1 || wrong[key] == "" {
			t.Errorf("%s: %v", key, wrong)
		}
		if _, err := Driver.Open("p", &s, nil); err == nil {
			t.Errorf("%s: opened", key)
		}
	}
	if _, err := Driver.Open("p", &place{}, nil); err == nil {
		t.Error("opened with settings of another driver")
	}
	data, err := json.Marshal(good)
	if err := errors.Join(err, json.Unmarshal(data, Driver.Settings())); err != nil {
		t.Error(err)
	}
}
