/* options.c - see options.h. */
#include "helper/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>

#include "base/str.h"

#define FD_MAX (1 << 20)

const char options_help[] =
	"Usage: tapnet-bridge-helper [--use-vnet] --fd=N --br=BRIDGE [--acl-file FILE]\n"
	"Makes a TAP that is a port of a bridge, and sends it over the UNIX socket at fd N: one "
	"byte\n"
	"with the TAP's fd beside it, as QEMU's -netdev tap,helper= and -netdev bridge expect.\n"
	"\n"
	"  --br BRIDGE         one of the host's, or LAB/BRIDGE of a lab that is up\n"
	"  --fd N              the socket\n"
	"  --use-vnet          frames have a vnet header\n"
	"  --acl-file FILE     which bridges are allowed\n"
	"                      (" TAPNET_ACL_FILE ")\n"
	"  --help, --version\n"
	"\n"
	"It has no rights but its caller's, and refuses to run setuid.\n";

static int parse_fd(const char *text, int *ret_fd, struct err *err)
{
	char *end = NULL;
	long fd = *text >= '0' && *text <= '9' ? strtol(text, &end, 10) : -1;

	if (!end || *end || fd < 3 || fd > FD_MAX)
		return err_set(err, -EINVAL, "--fd: \"%.100s\" is not a number from 3 to %d", text,
			       FD_MAX);
	*ret_fd = (int)fd;
	return 0;
}

enum { OPT_BR, OPT_FD, OPT_VNET, OPT_ACL, OPT_HELP, OPT_VERSION };

static const struct option longopts[] = {
	[OPT_BR] = { "br", required_argument, NULL, 0 },
	[OPT_FD] = { "fd", required_argument, NULL, 0 },
	[OPT_VNET] = { "use-vnet", no_argument, NULL, 0 },
	[OPT_ACL] = { "acl-file", required_argument, NULL, 0 },
	[OPT_HELP] = { "help", no_argument, NULL, 0 },
	[OPT_VERSION] = { "version", no_argument, NULL, 0 },
	{ 0 },
};

static int take(int which, struct options *options, struct err *err)
{
	switch (which) {
	case OPT_BR:
		if (name_parse(optarg, false, &options->name, err) < 0)
			return err_wrap(err, "--br");
		break;
	case OPT_FD:
		return parse_fd(optarg, &options->fd, err);
	case OPT_VNET:
		options->vnet_hdr = true;
		break;
	case OPT_ACL:
		options->acl_file = optarg;
		break;
	case OPT_HELP:
		options->help = true;
		break;
	default:
		options->version = true;
		break;
	}
	return 0;
}

int options_parse(int argc, char **argv, struct options *ret_options, struct err *err)
{
	unsigned seen = 0;
	int c, which = 0;

	*ret_options = (struct options){ .fd = -1, .acl_file = TAPNET_ACL_FILE };
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", longopts, &which)) != -1) {
		if (c == ':')
			return err_set(err, -EINVAL, "%s needs a value", argv[optind - 1]);
		if (c != 0)
			return err_set(err, -EINVAL, "unknown option \"%.100s\"", argv[optind - 1]);
		if (seen & 1U << which)
			return err_set(err, -EINVAL, "--%s is given twice", longopts[which].name);
		seen |= 1U << which;
		if (take(which, ret_options, err) < 0)
			return err->code;
	}
	if (ret_options->help || ret_options->version)
		return 0;
	if (optind < argc)
		return err_set(err, -EINVAL, "unexpected argument \"%.100s\"", argv[optind]);
	if (!(seen & 1U << OPT_BR) || !(seen & 1U << OPT_FD))
		return err_set(err, -EINVAL, "--%s is missing", seen & 1U << OPT_BR ? "fd" : "br");
	return 0;
}
