/* options.h - the command line, as QEMU makes it, and what we add. */
#ifndef TAPNET_HELPER_OPTIONS_H
#define TAPNET_HELPER_OPTIONS_H

#include "helper/name.h"

struct options {
	bool help, version, vnet_hdr;
	int fd; /* of the socket */
	struct name name;
	const char *acl_file;
};

extern const char options_help[];

int options_parse(int argc, char **argv, struct options *ret_options, struct err *err);

#endif
