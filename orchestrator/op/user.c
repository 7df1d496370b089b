/* user.c - see user.h. */
#include "op/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"

static int64_t number(const char *s)
{
	char *end;
	long n = strtol(s, &end, 10);

	return *s >= '0' && *s <= '9' && !*end && n < UINT32_MAX ? n : -1;
}

int user_number(const char *name, int64_t *ret_uid, struct err *err)
{
	const struct passwd *user;

	*ret_uid = name ? number(name) : -1;
	if (!name || *ret_uid >= 0)
		return 0;
	user = getpwnam(name);
	if (!user)
		return err_set(err, -ENOENT, "this host has no user \"%s\"", name);
	*ret_uid = user->pw_uid;
	return 0;
}

int user_group_number(const char *name, int64_t *ret_gid, struct err *err)
{
	const struct group *group;

	*ret_gid = name ? number(name) : -1;
	if (!name || *ret_gid >= 0)
		return 0;
	group = getgrnam(name);
	if (!group)
		return err_set(err, -ENOENT, "this host has no group \"%s\"", name);
	*ret_gid = group->gr_gid;
	return 0;
}

int user_find(const char *text, struct user *ret_user, struct err *err)
{
	char *name autofree = strdup(text), *colon = name ? strchr(name, ':') : NULL;
	const struct passwd *user;
	int r = name ? 0 : err_sys(err, -ENOMEM, "user %s", text);

	*ret_user = (struct user){ .uid = -1, .gid = -1 };
	if (colon)
		*colon = '\0';
	if (r == 0)
		r = user_number(name, &ret_user->uid, err);
	if (r == 0 && colon)
		r = user_group_number(colon + 1, &ret_user->gid, err);
	if (r < 0)
		return r;
	user = getpwuid((uid_t)ret_user->uid);
	if (!user && ret_user->gid < 0)
		return err_set(err, -ENOENT, "user %s has no login group here: write %s:GROUP",
			       name, name);
	if (!user)
		return 0;
	if (ret_user->gid < 0)
		ret_user->gid = user->pw_gid;
	ret_user->name = user->pw_name;
	ret_user->home = user->pw_dir;
	return 0;
}
