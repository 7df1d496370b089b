/* acl.h - the file that says which bridges may be joined.
 *
 *   allow br0          # a bridge of the host's
 *   allow class/lan    # one of the lab class; with * in place of lan each of them
 *   allow all          # every bridge
 *   deny br1
 *   include more.conf  # relative to this file's folder
 *
 * The order says nothing: one deny outweighs every allow, and what no line names is denied. A file
 * must belong to root, or to the user who runs the program, and nobody else may write it; that is
 * seen on the file that was opened, and a symbolic link is not followed.
 */
#ifndef TAPNET_HELPER_ACL_H
#define TAPNET_HELPER_ACL_H

#include "base/str.h"
#include "helper/name.h"

/* 0: allowed. -EACCES: denied, and err says where. -EINVAL: nothing is allowed, as there are
 * mistakes in the files: lines of `file:line:col: …` in mistakes, all of them. -errno. */
int acl_check(const char *path, const struct name *name, struct strbuf *mistakes, struct err *err);

#endif
