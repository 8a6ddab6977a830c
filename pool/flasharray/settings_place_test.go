package flasharray

import "testing"

func TestPlace(t *testing.T) {
	const token = "api_token = '" + secretToken + "'\n"
	for _, c := range []struct {
		one, two string
		same     bool
	}{
		{"address = 'a'\n" + token, "address = 'A:443'\n" + token, true},
		{"address = 'a'\n" + token, "address = 'a'\nuser = 'u'\npassword = 'p'\nhostgroup = 'g'\n", true},
		{"address = 'a'\npod = 'p'\n" + token, "url = 'https://u:p@a/api?pod=P&transport=nvme-tcp'\n", true},
		{"address = '[2001:db8::1]'\n" + token, "address = '[2001:DB8:0::1]:443'\n" + token, true},
		{"address = 'a'\n" + token, "address = 'a:8443'\n" + token, false},
		{"address = 'a'\n" + token, "address = 'b'\n" + token, false},
		{"address = 'a'\n" + token, "address = 'a'\npod = 'p'\n" + token, false},
	} {
		one, _ := mustLoad(t, c.one)
		two, _ := mustLoad(t, c.two)
		if same := one.Place() == two.Place(); same != c.same || one.Place() == "" {
			t.Errorf("%s%s: %q and %q, same %t", c.one, c.two, one.Place(), two.Place(), same)
		}
	}
	if place := (&Settings{}).Place(); place != "" {
		t.Errorf("settings without an address are at %q", place)
	}
}
