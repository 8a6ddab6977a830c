package drbdsim

import (
	"fmt"
	"strings"
)

func (c call) config() string {
	var b strings.Builder
	b.WriteString("<config file=\"/etc/drbd.conf\">\n    <common>\n    </common>\n")
	for _, name := range names(c.Resources) {
		r := c.Resources[name]
		fmt.Fprintf(&b, "    <resource name=%q conf-file-line=\"/etc/drbd.d/%s.res:1\">\n", name, name)
		for i, host := range names(r.Hosts) {
			fmt.Fprintf(&b, "        <host name=%q>\n", host)
			for v := range r.Volumes {
				fmt.Fprintf(&b, "            <volume vnr=\"%d\">\n                <device minor=\"%d\">/dev/drbd%d</device>\n"+
					"                <disk>/dev/loop0</disk>\n                <meta-disk>internal</meta-disk>\n            </volume>\n", v, r.Minor+v, r.Minor+v)
			}
			fmt.Fprintf(&b, "            <address family=\"ipv4\" port=\"7789\">10.78.1.%d</address>\n        </host>\n", 11+i)
		}
		fmt.Fprintf(&b, "        <section name=\"net\">\n            <option name=\"protocol\" value=%q/>\n", r.Protocol)
		if r.ConfigTwo {
			b.WriteString("            <option name=\"allow-two-primaries\" value=\"yes\"/>\n")
		}
		b.WriteString("        </section>\n    </resource>\n")
	}
	b.WriteString("</config>\n")
	return b.String()
}

func (c call) events(only []string) string {
	var b strings.Builder
	for _, name := range names(c.Resources) {
		r := c.Resources[name]
		if me := r.Hosts[c.host]; me != nil && !me.Down && (len(only) == 0 || only[0] == name) {
			c.eventsOf(&b, name, r, me)
		}
	}
	b.WriteString("exists -\n")
	return b.String()
}

// eventsOf names the peers as DRBD 8.4 does where there is only one.
func (c call) eventsOf(b *strings.Builder, name string, r *Resource, me *Replica) {
	fmt.Fprintf(b, "exists resource name:%s role:%s suspended:no\n", name, me.Role)
	connected := c.peers(r)
	peers := ""
	node := 0
	for _, host := range names(r.Hosts) {
		if host == c.host {
			continue
		}
		label, connection, role, disk, replication := host, "Connecting", "Unknown", "DUnknown", "Off"
		if len(r.Hosts) == 2 {
			label = "peer"
		}
		if p := connected[host]; p != nil {
			connection, role, disk, replication = "Connected", p.Role, p.Disk, "Established"
		} else if me.StandAlone {
			connection = "StandAlone"
		} else if r.Hosts[host].Disk == "Outdated" {
			disk = "Outdated"
		}
		if me.Target {
			replication = "SyncTarget"
		}
		fmt.Fprintf(b, "exists connection name:%s peer-node-id:%d conn-name:%s connection:%s role:%s\n", name, node, label, connection, role)
		for v := range r.Volumes {
			peers += fmt.Sprintf("exists peer-device name:%s peer-node-id:%d conn-name:%s volume:%d replication:%s peer-disk:%s resync-suspended:no\n",
				name, node, label, v, replication, disk)
		}
		node++
	}
	for v := range r.Volumes {
		fmt.Fprintf(b, "exists device name:%s volume:%d minor:%d disk:%s\n", name, v, r.Minor+v, me.Disk)
	}
	b.WriteString(peers)
}

func (c call) show(only []string) (string, error) {
	if len(only) != 1 || c.Resources[only[0]] == nil || c.Resources[only[0]].Hosts[c.host] == nil || c.Resources[only[0]].Hosts[c.host].Down {
		return "", said{20, ""}
	}
	me := c.Resources[only[0]].Hosts[c.host]
	net := ""
	if me.Two {
		net += "        allow-two-primaries\tyes;\n"
	}
	if me.Protocol != "C" {
		net += "        protocol        \t" + me.Protocol + ";\n"
	}
	return fmt.Sprintf("resource %s {\n    options {\n    }\n    net {\n%s        shared-secret   \t\"}{;\";\n    }\n"+
		"    _this_host {\n        address\t\t\tipv4 10.78.1.11:7789;\n    }\n}\n", only[0], net), nil
}
