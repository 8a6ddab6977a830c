package hooks

import (
	"fmt"
	"io"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/sirupsen/logrus"
)

// newLog logs to the journal, with the event in every entry; where there is
// no journal, nowhere. stdout and stderr belong to libvirt.
func newLog(e Event) *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	if journal.Enabled() {
		l.AddHook(toJournal{})
	}
	return l.WithFields(logrus.Fields{"domain": e.Domain, "operation": e.Op + " " + e.SubOp, "extra": e.Extra})
}

func setLevel(log *logrus.Entry, name string) {
	if level, err := logrus.ParseLevel(name); err == nil {
		log.Logger.SetLevel(level)
	}
}

// toJournal sends entries to the systemd journal.
type toJournal struct{}

// Levels implements logrus.Hook.
func (toJournal) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook.
func (toJournal) Fire(e *logrus.Entry) error {
	vars := map[string]string{"SYSLOG_IDENTIFIER": "volbridge-hook"}
	text := fmt.Sprintf("%v of domain %v: %s", e.Data["operation"], e.Data["domain"], e.Message)
	for key, value := range e.Data {
		vars["VOLBRIDGE_"+strings.ToUpper(key)] = fmt.Sprint(value)
		if key == logrus.ErrorKey {
			text += fmt.Sprintf(": %v", value)
		}
	}
	return journal.Send(text, priorities[e.Level], vars)
}

var priorities = map[logrus.Level]journal.Priority{
	logrus.PanicLevel: journal.PriCrit,
	logrus.FatalLevel: journal.PriCrit,
	logrus.ErrorLevel: journal.PriErr,
	logrus.WarnLevel:  journal.PriWarning,
	logrus.InfoLevel:  journal.PriInfo,
	logrus.DebugLevel: journal.PriDebug,
	logrus.TraceLevel: journal.PriDebug,
}
