/* options.c - parses the command line; one table for the options, one for the keys of --nic. */
#include "guest/options.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"
#include "guest/say.h"

const char options_help[] =
	"Usage: tapnet-guest --nic fds=N:N…,mac=MAC[,KEY=VALUE…] [OPTION…]\n"
	"A small guest: a TCP/IP stack on the queues of TAP devices whose fds it was given.\n"
	"\n"
	"  --nic KEY=VALUE,…   a network card, eth0, eth1, … in this order:\n"
	"      fds=3:4:5:6       the TAP's queues\n"
	"      mac=02:…          its MAC address\n"
	"      ip=10.0.1.10/24   IPv4 address        gw=10.0.1.1     its default gateway\n"
	"      ip6=fd00::10/64   IPv6 address        gw6=fd00::1     its default gateway\n"
	"      vnet-hdr=auto     auto (ask the TAP), on, off\n"
	"      mtu=1500          576 to 65521\n"
	"  --name NAME         what the TCP service calls itself (guest)\n"
	"  --listen PORT       serve TCP there: HTTP tells the name, /bytes/N sends N bytes;\n"
	"                      anything else is echoed after the name\n"
	"  --ping ADDRESS      ping it each second, from the start\n"
	"  --count N           until N replies came (4); 0: without end\n"
	"  --help, --version\n"
	"\n"
	"SIGUSR1 prints the counters, SIGTERM prints them and ends. A device that disappears ends\n"
	"it with status 1; status 2 is a mistake in these options.\n";

static int parse_ip(const char *text, unsigned family, bool prefix, struct ip *ret_ip,
		    struct err *err)
{
	bool has_prefix;

	if (!ip_parse(text, ret_ip, &has_prefix) || (family && ret_ip->family != family))
		return err_set(err, -EINVAL, "\"%s\" is not an %s address", text,
			       family == 4   ? "IPv4"
			       : family == 6 ? "IPv6"
					     : "IP");
	if (has_prefix != prefix)
		return err_set(err, -EINVAL,
			       prefix ? "\"%s\" lacks its prefix length, like /24"
				      : "\"%s\" has a prefix length: none here",
			       text);
	/* The stack takes the /64 around its own address, and nothing else, to be on the link. */
	if (family == 6 && prefix && ret_ip->prefix < 64)
		return err_set(err, -EINVAL, "\"%s\": the prefix length must be 64 or more", text);
	return 0;
}

static int nic_fds(struct opt_nic *nic, char *text, struct err *err)
{
	return say_fds(text, nic->fds, &nic->n_fds, err);
}

static int nic_mac(struct opt_nic *nic, char *text, struct err *err)
{
	if (!mac_parse(text, &nic->mac))
		return err_set(err, -EINVAL, "\"%s\" is not a MAC address", text);
	if (nic->mac.b[0] & 1)
		return err_set(err, -EINVAL, "\"%s\" is a multicast address", text);
	nic->has_mac = true;
	return 0;
}

static int nic_ip(struct opt_nic *nic, char *text, struct err *err)
{
	return parse_ip(text, 4, true, &nic->ip, err);
}

static int nic_gw(struct opt_nic *nic, char *text, struct err *err)
{
	return parse_ip(text, 4, false, &nic->gw, err);
}

static int nic_ip6(struct opt_nic *nic, char *text, struct err *err)
{
	return parse_ip(text, 6, true, &nic->ip6, err);
}

static int nic_gw6(struct opt_nic *nic, char *text, struct err *err)
{
	return parse_ip(text, 6, false, &nic->gw6, err);
}

static int nic_vnet(struct opt_nic *nic, char *text, struct err *err)
{
	static const char *const words[] = {
		[TAP_VNET_AUTO] = "auto",
		[TAP_VNET_ON] = "on",
		[TAP_VNET_OFF] = "off",
	};

	for (unsigned i = 0; i < COUNT(words); i++) {
		if (str_eq(text, words[i])) {
			nic->vnet = (enum tap_vnet)i;
			return 0;
		}
	}
	return err_set(err, -EINVAL, "\"%s\" is not auto, on or off", text);
}

static int nic_mtu(struct opt_nic *nic, char *text, struct err *err)
{
	unsigned long mtu = 0;
	int r = say_number(text, 576, 65521, &mtu, err);

	nic->mtu = (uint16_t)mtu;
	return r;
}

/* An empty value is as good as none, so that a lab may write gw=${eth0.gateway} for any guest. */
static const struct nic_key {
	const char *name;
	int (*parse)(struct opt_nic *nic, char *text, struct err *err);
	bool required;
} nic_keys[] = {
	{ "fds", nic_fds, true },	 { "mac", nic_mac, true },  { "ip", nic_ip, false },
	{ "gw", nic_gw, false },	 { "ip6", nic_ip6, false }, { "gw6", nic_gw6, false },
	{ "vnet-hdr", nic_vnet, false }, { "mtu", nic_mtu, false },
};

static int nic_key_parse(struct opt_nic *nic, unsigned *seen, char *pair, struct err *err)
{
	char *value = strchr(pair, '=');
	const char *names[COUNT(nic_keys)], *near;
	int r;

	if (!value)
		return err_set(err, -EINVAL, "\"%s\" is not KEY=VALUE", pair);
	*value++ = '\0';
	for (unsigned i = 0; i < COUNT(nic_keys); i++) {
		names[i] = nic_keys[i].name;
		if (!str_eq(pair, nic_keys[i].name))
			continue;
		if (*seen & 1U << i)
			return err_set(err, -EINVAL, "%s= is given twice", pair);
		*seen |= 1U << i;
		if (!*value && !nic_keys[i].required)
			return 0;
		r = nic_keys[i].parse(nic, value, err);
		return r < 0 ? err_wrap(err, "%s=", pair) : 0;
	}
	near = str_nearest(pair, names, COUNT(names));
	if (near)
		return err_set(err, -EINVAL, "unknown key \"%s\" (did you mean \"%s\"?)", pair,
			       near);
	return err_set(err, -EINVAL, "unknown key \"%s\"", pair);
}

/* The last card's fds are no other card's. */
static int fds_once(const struct options *options, struct err *err)
{
	const struct opt_nic *last = &options->nics[options->n_nics - 1];

	for (const struct opt_nic *nic = options->nics; nic < last; nic++)
		for (unsigned i = 0; i < last->n_fds; i++)
			for (unsigned j = 0; j < nic->n_fds; j++)
				if (nic->fds[j] == last->fds[i])
					return err_set(err, -EINVAL, "fd %d is given twice",
						       nic->fds[j]);
	return 0;
}

static int opt_nic(struct options *options, char *text, struct err *err)
{
	struct opt_nic *nic = &options->nics[options->n_nics];
	autofree char *copy = strdup(text); /* what ps shows stays as it was given */
	unsigned seen = 0;
	int r;

	if (!copy)
		return err_sys(err, -ENOMEM, "%s", text);
	if (options->n_nics == OPT_NICS_MAX)
		return err_set(err, -E2BIG, "more than %d network cards", OPT_NICS_MAX);
	*nic = (struct opt_nic){ .mtu = 1500 };
	options->n_nics++;
	for (char *rest = copy, *pair; (pair = strsep(&rest, ","));) {
		r = nic_key_parse(nic, &seen, pair, err);
		if (r < 0)
			return r;
	}
	for (unsigned i = 0; i < COUNT(nic_keys); i++)
		if (nic_keys[i].required && !(seen & 1U << i))
			return err_set(err, -EINVAL, "%s= is missing", nic_keys[i].name);
	return fds_once(options, err);
}

static int opt_name(struct options *options, char *text, struct err *err)
{
	size_t n =
		strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	if (!n || text[n] || n > 63)
		return err_set(err, -EINVAL, "\"%s\": 1 to 63 letters, digits, '.', '_' and '-'",
			       text);
	options->name = text;
	return 0;
}

static int opt_listen(struct options *options, char *text, struct err *err)
{
	unsigned long port;
	int r = say_number(text, 1, 65535, &port, err);

	if (r < 0)
		return r;
	if (options->n_listen == OPT_LISTEN_MAX)
		return err_set(err, -E2BIG, "more than %d ports", OPT_LISTEN_MAX);
	for (unsigned i = 0; i < options->n_listen; i++)
		if (options->listen[i] == port)
			return err_set(err, -EINVAL, "port %lu is given twice", port);
	options->listen[options->n_listen++] = (uint16_t)port;
	return 0;
}

static int opt_ping(struct options *options, char *text, struct err *err)
{
	if (options->n_ping == OPT_PING_MAX)
		return err_set(err, -E2BIG, "more than %d addresses", OPT_PING_MAX);
	return parse_ip(text, 0, false, &options->ping[options->n_ping++], err);
}

static int opt_count(struct options *options, char *text, struct err *err)
{
	unsigned long count = 0;
	int r = say_number(text, 0, 1000000, &count, err);

	options->count = (unsigned)count;
	return r;
}

static int opt_help(struct options *options, char *text, struct err *err)
{
	(void)text, (void)err;
	options->help = true;
	return 0;
}

static int opt_version(struct options *options, char *text, struct err *err)
{
	(void)text, (void)err;
	options->version = true;
	return 0;
}

static int (*const opt_parse[])(struct options *options, char *text, struct err *err) = {
	opt_nic, opt_name, opt_listen, opt_ping, opt_count, opt_help, opt_version,
};

/* In the order of opt_parse. */
static const struct option longopts[] = {
	{ "nic", required_argument, NULL, 0 },	  { "name", required_argument, NULL, 0 },
	{ "listen", required_argument, NULL, 0 }, { "ping", required_argument, NULL, 0 },
	{ "count", required_argument, NULL, 0 },  { "help", no_argument, NULL, 0 },
	{ "version", no_argument, NULL, 0 },	  { 0 },
};
static_assert(COUNT(longopts) == COUNT(opt_parse) + 1, "one parser an option");

int options_parse(int argc, char **argv, struct options *ret_options, struct err *err)
{
	int c, which = 0, r;

	*ret_options = (struct options){ .name = "guest", .count = OPT_COUNT_DEFAULT };
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", longopts, &which)) != -1) {
		if (c == ':')
			return err_set(err, -EINVAL, "%s needs a value", argv[optind - 1]);
		if (c != 0)
			return err_set(err, -EINVAL, "unknown option \"%s\"", argv[optind - 1]);
		r = opt_parse[which](ret_options, optarg, err);
		if (r < 0)
			return err_wrap(err, "--%s", longopts[which].name);
	}
	if (ret_options->help || ret_options->version)
		return 0;
	if (optind < argc)
		return err_set(err, -EINVAL, "unexpected argument \"%s\"", argv[optind]);
	if (!ret_options->n_nics)
		return err_set(err, -EINVAL, "--nic is missing");
	return 0;
}
