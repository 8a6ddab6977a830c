package flasharray

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

const sessionHeader = "X-Auth-Token"

// apiToken gives a user's token for name and password, as REST 1.x does, in a
// form or in JSON.
func (a *Array) apiToken(q *request) answer {
	var login struct{ Username, Password string }
	if form, err := url.ParseQuery(string(q.body)); err == nil && form.Has("username") {
		login.Username, login.Password = form.Get("username"), form.Get("password")
	} else if json.Unmarshal(q.body, &login) != nil {
		login.Username = ""
	}
	if a.o.User == "" || !same(login.Username, a.o.User) || !same(login.Password, a.o.Password) {
		return jsonAnswer(http.StatusBadRequest, []object{{"code": 0, "ctx": "", "msg": "invalid credentials"}})
	}
	return ok(object{"api_token": a.o.APIToken})
}

func same(x, y string) bool { return subtle.ConstantTimeCompare([]byte(x), []byte(y)) == 1 }

func (a *Array) logIn(q *request) answer {
	if !same(q.header.Get("Api-Token"), a.o.APIToken) {
		return (&failure{http.StatusUnauthorized, "", "Invalid API token."}).answer()
	}
	token := newID()
	a.sessions[token] = time.Now()
	n := ok(items(object{"username": a.user()}))
	n.header.Set(sessionHeader, token)
	return n
}

// readOnly is the role that may only look.
const readOnly = "readonly"

// user is the only one there is.
func (a *Array) user() string { return cmp.Or(a.o.User, "pureuser") }

func (a *Array) getAdmins(r *request) (any, *failure) {
	for _, n := range r.list("names") {
		if n != a.user() {
			return nil, refuse(n, notExist, "Admin")
		}
	}
	return a.page(r, []object{{"name": a.user(), "is_local": true, "role": object{"name": a.o.Role}}}, nil)
}

func (a *Array) logOut(q *request) answer {
	delete(a.sessions, q.header.Get(sessionHeader))
	return answer{status: http.StatusOK}
}

func (a *Array) known(q *request) bool {
	made, there := a.sessions[q.header.Get(sessionHeader)]
	return there && (a.o.SessionLife == 0 || time.Since(made) < a.o.SessionLife)
}

// ExpireSessions ends all sessions: the next call with each gets 401.
func (a *Array) ExpireSessions() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.sessions)
}
