/* hint.c - words of other tools, each with the way to say it here. */
#include "base/fd.h"
#include "model/load.h"

struct foreign {
	const char *word, *hint;
};

/* At the top of a file. */
static const struct foreign foreign_lab[] = {
	{ "topology", "containerlab's level; move its keys (nodes, links …) one level up" },
	{ "mgmt", "containerlab's management network; here a bridge and an interface each" },
	{ "prefix", "containerlab's; names of a lab never clash here" },
	{ "debug", "containerlab's; here: tapnet-lab plan, status, capture" },
	{ "settings", "containerlab's; leave it out" },
	{ "kinds",
	  "containerlab's; keys of many nodes stand in groups:, and nodes say group: NAME" },
	{ "services", "compose's; programs stand in a node: nodes: {h1: {services: …}}" },
	{ "networks", "compose's; here: bridges:" },
	{ "volumes", "compose's; a node's files stand in its files:" },
	{ "version", "lab files have no version; leave it out" },
	{ "hosts", "mininet's; here: nodes:" },
	{ "routers", "here: nodes:, with forward: true" },
	{ "switches", "mininet's; here: bridges:" },
	{ "controllers", "mininet's; a controller is a program: services: of a node" },
	{ "connections", "here: links:" },
	{ "edges", "here: links:" },
	{ "wires", "here: links:" },
	{ "variables", "here: vars:" },
	{ "bridge", "here: bridges:" },
	{ "switch", "here: bridges:" },
	{ "node", "here: nodes:" },
	{ "link", "here: links:" },
};

/* In a node. */
static const struct foreign foreign_node[] = {
	{ "image",
	  "there are no containers; a node sees the host's files, a guest has disk: or kernel:" },
	{ "binds", "a node sees the host's files; its own ones stand in files:" },
	{ "volumes", "a node sees the host's files; its own ones stand in files:" },
	{ "mounts", "a node sees the host's files; its own ones stand in files:" },
	{ "cmd", "here: command: for a guest, exec: or services: for a node" },
	{ "entrypoint", "here: command: for a guest, exec: or services: for a node" },
	{ "run", "here: exec:" },
	{ "commands", "here: exec:" },
	{ "startup-config", "here: files: for the program that reads it, or exec:" },
	{ "env-files", "here: env: {NAME: value}" },
	{ "environment", "here: env: {NAME: value}" },
	{ "labels", "leave it out" },
	{ "mgmt-ipv4", "here an interface: interfaces: {eth0: {bridge: …, ipv4: …}}" },
	{ "mgmt-ipv6", "here an interface: interfaces: {eth0: {bridge: …, ipv6: …}}" },
	{ "network-mode", "a node is a network namespace of its own" },
	{ "networks", "here: interfaces: {eth0: NAME OF A BRIDGE}" },
	{ "depends_on", "here: wait-for:" },
	{ "depends-on", "here: wait-for:" },
	{ "healthcheck", "here: ready:" },
	{ "type", "here: kind:" },
	{ "groups", "here: group:" },
	{ "ip", "addresses stand at the interface: interfaces: {eth0: {ipv4: …}}" },
	{ "gateway", "here: routes: default via …" },
	{ "defaultRoute", "here: routes: default via …" },
	{ "sysctl", "here: sysctls:" },
	{ "ram", "here: memory:, of kind: qemu" },
	{ "vcpus", "here: cpus:, of kind: qemu" },
	{ "cpu", "here: cpus:, of kind: qemu" },
};

/* At an interface. */
static const struct foreign foreign_iface[] = {
	{ "address", "here: ipv4: or ipv6:" },
	{ "addresses", "here: ipv4: or ipv6:" },
	{ "ip", "here: ipv4: or ipv6:" },
	{ "subnet", "it stands at the bridge or the link" },
	{ "network", "here: bridge:" },
	{ "link", "here: bridge:, or a wire in links:" },
	{ "gateway", "routes stand at the node: routes: default via …" },
	{ "delay", "here: impair: {delay: …}" },
	{ "bw", "here: impair: {rate: …}" },
	{ "queues", "here: tap: {queues: …}" },
};

/* At a link. */
static const struct foreign foreign_link[] = {
	{ "delay", "here: impair: {delay: …}" },
	{ "loss", "here: impair: {loss: …}" },
	{ "bw", "here: impair: {rate: …}" },
	{ "bandwidth", "here: impair: {rate: …}" },
	{ "rate", "here: impair: {rate: …}" },
	{ "ends", "here: endpoints:" },
	{ "nodes", "here: endpoints:" },
	{ "type", "leave it out: a wire is a wire" },
	{ "bridge", "a bridge is an end: endpoints: [r1, sw1]" },
	{ "vlan", "it stands at the interface that is a port; here: trunk: and native:" },
};

/* At a bridge. */
static const struct foreign foreign_bridge[] = {
	{ "for", "it repeats nodes and links only" },
	{ "interfaces",
	  "ports are said at the other end: interfaces: {eth0: BRIDGE}, or in links:" },
	{ "ipv4", "a bridge has a subnet:, its ports have addresses" },
	{ "ipv6", "a bridge has a subnet:, its ports have addresses" },
	{ "kind", "leave it out: bridges are plain, or host: BRIDGE" },
};

static const struct {
	const struct field *where;
	const struct foreign *words;
	size_t n;
} foreign_tables[] = {
	{ vocab_lab, foreign_lab, COUNT(foreign_lab) },
	{ vocab_node, foreign_node, COUNT(foreign_node) },
	{ vocab_iface, foreign_iface, COUNT(foreign_iface) },
	{ vocab_link, foreign_link, COUNT(foreign_link) },
	{ vocab_bridge, foreign_bridge, COUNT(foreign_bridge) },
};

/* Values of kind: that are other tools'. */
static const struct foreign foreign_kinds[] = {
	{ "linux", "a node is a Linux network namespace: leave kind out" },
	{ "host", "a node is a Linux network namespace: leave kind out" },
	{ "router", "leave kind out; forward: true makes it a router" },
	{ "container", "a node is a Linux network namespace: leave kind out" },
	{ "docker", "a node is a Linux network namespace: leave kind out" },
	{ "bridge", "here: bridges:, at the top of the file" },
	{ "ovs-bridge", "here: bridges:, at the top of the file" },
	{ "switch", "here: bridges:, at the top of the file" },
	{ "vm", "here: kind: qemu, or guest for any program" },
	{ "kvm", "here: kind: qemu, or guest for any program" },
};

static const char *hint_find(const struct foreign *words, size_t n, const char *word)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(words[i].word, word))
			return words[i].hint;
	return NULL;
}

const char *hint_foreign(const struct field *where, const char *word)
{
	const char *hint = NULL;

	for (size_t i = 0; i < COUNT(foreign_tables); i++)
		if (foreign_tables[i].where == where)
			hint = hint_find(foreign_tables[i].words, foreign_tables[i].n, word);
	if (!hint && where == vocab_node && field_find(vocab_iface, word))
		hint = "it stands at an interface: interfaces: {eth0: {…}}";
	return hint;
}

const char *hint_kind(const char *word)
{
	return hint_find(foreign_kinds, COUNT(foreign_kinds), word);
}
