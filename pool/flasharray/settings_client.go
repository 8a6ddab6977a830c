package flasharray

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/pool/flasharray/rest"
	"github.com/volbridge/volbridge/pool/settings"
)

// clientOptions are what the array of this pool is asked with. Each pool has a
// session of its own on a host, because two pools of one array may have two
// users. getenv is os.Getenv.
func (s *Settings) clientOptions(pool string, p place, getenv func(string) string, log *logrus.Entry) rest.Options {
	o := rest.Options{
		URL:            p.address,
		Credentials:    p.login.credentials(settings.Credentials(getenv)),
		CAFile:         s.CAFile,
		Insecure:       !s.TLSVerify,
		CallTimeout:    time.Duration(s.CallTimeout),
		MaxConnections: s.Connections,
		Log:            log,
	}
	if s.SessionDir != "" {
		sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", pool, p.address.Host, p.login.user))
		o.SessionFile = filepath.Join(s.SessionDir, "session-"+hex.EncodeToString(sum[:8])+".json")
	}
	return o
}
