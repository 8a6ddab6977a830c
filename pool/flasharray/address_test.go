package flasharray

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The first two are from arrays in the field.
var vectors = []struct{ serial, nguid, wwn string }{
	{"9714B5CB91634C470002B2C8", "009714b5cb91634c24a937470002b2c8", "624a93709714b5cb91634c470002b2c8"},
	{"8726b5033af2433d00014196", "008726b5033af24324a9373d00014196", "624a93708726b5033af2433d00014196"},
	{"000000000000000000000000", "000000000000000024a9370000000000", "624a9370000000000000000000000000"},
	{"FFFFFFFFFFFFFFFFFFFFFFFF", "00ffffffffffffff24a937ffffffffff", "624a9370ffffffffffffffffffffffff"},
}

func TestAddressesBothWays(t *testing.T) {
	for _, v := range vectors {
		s, err := ParseSerial(v.serial)
		if err != nil || string(s) != strings.ToUpper(v.serial) {
			t.Fatalf("ParseSerial(%s) = %s, %v", v.serial, s, err)
		}
		if s.NGUID() != v.nguid || s.WWN() != v.wwn {
			t.Errorf("%s: NGUID %s, WWN %s; want %s, %s", s, s.NGUID(), s.WWN(), v.nguid, v.wwn)
		}
		for _, text := range []string{v.nguid, strings.ToUpper(v.nguid), "eui." + v.nguid, "EUI." + strings.ToUpper(v.nguid)} {
			if back, err := ParseNGUID(text); err != nil || back != s {
				t.Errorf("ParseNGUID(%s) = %s, %v; want %s", text, back, err, s)
			}
		}
		for _, text := range []string{v.wwn, strings.ToUpper(v.wwn), "0x" + v.wwn, "naa." + v.wwn} {
			if back, err := ParseWWN(text); err != nil || back != s {
				t.Errorf("ParseWWN(%s) = %s, %v; want %s", text, back, err, s)
			}
		}
	}
}

func TestWrongAddressesAreRefused(t *testing.T) {
	const nguid, wwn, serial = "009714b5cb91634c24a937470002b2c8", "624a93709714b5cb91634c470002b2c8", "9714B5CB91634C470002B2C8"
	for name, text := range map[string]string{
		"empty": "", "only the prefix": "eui.",
		"31 digits":        nguid[:31],
		"31, cut in front": nguid[1:],
		"33 digits":        nguid + "8",
		// Stands in a public driver's tests as if it were one.
		"33 digits, wrong split": "0009714b5cb916324a9374c470002b2c8",
		"wrong OUI":              strings.Replace(nguid, "24a937", "24a938", 1),
		"OUI elsewhere":          "009714b5cb916324a9374c470002b2c8",
		"without 00":             "01" + nguid[2:],
		"not hex":                "00g" + nguid[3:],
		"dashes":                 "009714b5-cb91634c24a937470002b2c",
		"twice the prefix":       "eui.eui." + nguid,
		"another prefix":         "uuid." + nguid,
		"a space":                " " + nguid, "an end of line": nguid + "\n",
		"a partition": nguid + "-part1", "16 digits, an EUI-64": nguid[:16],
		"digits of another script": strings.Repeat("٣", 16),
	} {
		if s, err := ParseNGUID(text); err == nil {
			t.Errorf("%s: ParseNGUID(%q) = %s", name, text, s)
		}
	}
	for name, text := range map[string]string{
		"empty": "", "31 digits": wwn[:31], "33 digits": wwn + "8", "with the 3 of multipath": "3" + wwn,
		"wrong OUI": "624a9380" + wwn[8:], "wrong vendor digit": "624a9371" + wwn[8:], "NAA 5": "524a9370" + wwn[8:],
		"not hex": wwn[:31] + "x", "two prefixes": "0x0x" + wwn, "a partition": wwn + "-part1", "WWN of 64 bits": wwn[:16],
	} {
		if s, err := ParseWWN(text); err == nil {
			t.Errorf("%s: ParseWWN(%q) = %s", name, text, s)
		}
	}
	for _, text := range []string{"", serial[:23], serial + "0", "G" + serial[1:], " " + serial[1:], strings.Repeat("x", 5000)} {
		_, err := ParseSerial(text)
		if err == nil || len(err.Error()) > 200 {
			t.Errorf("ParseSerial(%q): %v", text, err)
		}
	}
}

func TestPaths(t *testing.T) {
	const nguid, wwn, serial = "009714b5cb91634c24a937470002b2c8", "624a93709714b5cb91634c470002b2c8", Serial("9714B5CB91634C470002B2C8")
	nvme, scsi := []Transport{NVMeTCP, NVMeRoCE, NVMeFC}, []Transport{FibreChannel, ISCSI}
	for _, c := range []struct {
		path string
		of   []Transport
	}{
		{"/dev/disk/by-id/nvme-eui." + nguid, nvme},
		{"/dev/disk/by-id/nvme-eui." + strings.ToUpper(nguid), nvme},
		{"/dev/mapper/3" + wwn, scsi},
		{"/dev/disk/by-id/wwn-0x" + wwn, scsi},
		{"/dev/disk/by-id/dm-uuid-mpath-3" + wwn, scsi},
		{"/dev/disk/by-id/nvme-eui." + nguid + "-part1", nil},
		{"/dev/disk/by-id/nvme-eui." + nguid + "_1", nil},
		{"/dev/disk/by-id/nvme-eui.eui." + nguid, nil},
		{"/dev/disk/by-id/nvme-eui." + nguid[:31], nil},
		{"/dev/disk/by-id/nvme-eui.0025385b71b00f2a", nil}, // a disk of the host itself
		{"/dev/disk/by-id/nvme-uuid." + nguid, nil},
		{"/dev/disk/by-id/../by-id/nvme-eui." + nguid, nil},
		{"dev/disk/by-id/nvme-eui." + nguid, nil},
		{"/dev/mapper/3" + wwn + "-part1", nil},
		{"/dev/mapper/3" + wwn + "p1", nil},
		{"/dev/mapper/" + wwn, nil},
		{"/dev/mapper/30x" + wwn, nil},
		{"/dev/mapper/3600a0b800047d6de0000000000000000", nil}, // another vendor
		{"/dev/disk/by-id/wwn-0x" + wwn + "-part2", nil},
		{"/dev/nvme0n1", nil}, {"", nil}, {"/dev/disk/by-id/nvme-eui.", nil},
	} {
		for _, transport := range transports {
			want := false
			for _, one := range c.of {
				want = want || one == transport
			}
			s, ok := transport.ParsePath(c.path)
			if ok != want || ok && s != serial {
				t.Errorf("%s: ParsePath(%s) = %s, %v; want %v", transport, c.path, s, ok, want)
			}
		}
	}
	if got := NVMeTCP.Path(serial); got != "/dev/disk/by-id/nvme-eui."+nguid {
		t.Error(got)
	}
	if got := FibreChannel.Path(serial); got != "/dev/mapper/3"+wwn {
		t.Error(got)
	}
	if NVMeFC.Identity(serial) != nguid || ISCSI.Identity(serial) != wwn {
		t.Error("identities are mixed up")
	}
}

func TestTransports(t *testing.T) {
	for _, transport := range transports {
		got, err := ParseTransport(strings.ToUpper(string(transport)))
		if err != nil || got != transport {
			t.Errorf("%s: %s, %v", transport, got, err)
		}
		if usable := transport.Usable() == nil; usable != (transport == NVMeTCP) {
			t.Errorf("%s usable: %v", transport, usable)
		}
	}
	if _, err := ParseTransport("nfs"); err == nil || !strings.Contains(err.Error(), "nvme-tcp, nvme-roce") {
		t.Error(err)
	}
}

func TestEverySerialComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[0-9a-fA-F]{24}`).Draw(t, "serial")
		s, err := ParseSerial(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, transport := range transports {
			if back, ok := transport.ParsePath(transport.Path(s)); !ok || back != s {
				t.Fatalf("%s: %s came back as %s, %v", transport, s, back, ok)
			}
			if !strings.Contains(transport.Path(s), string(transport.Identity(s))) {
				t.Fatalf("%s is not at %s", transport.Identity(s), transport.Path(s))
			}
		}
	})
}

// FuzzParsePath: a path that is taken is the volume's own, or another of its
// links; nothing is taken that merely contains an address.
func FuzzParsePath(f *testing.F) {
	for _, v := range vectors {
		f.Add("/dev/disk/by-id/nvme-eui." + v.nguid)
		f.Add("/dev/mapper/3" + v.wwn)
		f.Add("/dev/disk/by-id/wwn-0x" + v.wwn + "-part1")
	}
	f.Fuzz(func(t *testing.T, device string) {
		for _, transport := range transports {
			s, ok := transport.ParsePath(device)
			if !ok {
				continue
			}
			if len(s) != serialDigits || !strings.HasSuffix(strings.ToLower(device), string(transport.Identity(s))) {
				t.Errorf("%s took %q for %s", transport, device, s)
			}
		}
	})
}

func FuzzParseNGUID(f *testing.F) {
	f.Add("eui.009714b5cb91634c24a937470002b2c8")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseNGUID(text)
		if err == nil && s.NGUID() != strings.TrimPrefix(strings.ToLower(text), "eui.") {
			t.Errorf("%q was taken for %s", text, s.NGUID())
		}
	})
}
