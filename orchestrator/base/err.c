/* err.c - see err.h. */
#include "base/err.h"

#undef err_set /* the analysers' wrappers */
#undef err_sys

#include <stdio.h>
#include <string.h>

PRINTF_LIKE(3, 0)
static void err_fill(struct err *err, int code, const char *fmt, va_list ap)
{
	err->code = code;
	err->status = EXIT_FINE;
	err->line = err->col = 0;
	(void)vsnprintf(err->msg, sizeof err->msg, fmt, ap);
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_fill(err, code, fmt, ap);
	va_end(ap);
	return code;
}

int err_sys(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	va_start(ap, fmt);
	err_fill(err, code, fmt, ap);
	va_end(ap);
	len = strlen(err->msg);
	(void)snprintf(err->msg + len, sizeof err->msg - len, ": %s", strerror(-code));
	return code;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
	char old[sizeof err->msg];
	va_list ap;
	size_t len;

	memcpy(old, err->msg, sizeof old);
	va_start(ap, fmt);
	(void)vsnprintf(err->msg, sizeof err->msg, fmt, ap);
	va_end(ap);
	len = strlen(err->msg);
	(void)snprintf(err->msg + len, sizeof err->msg - len, ": %s", old);
	return err->code;
}

void err_at(struct err *err, int line, int col)
{
	if (err->line)
		return;
	err->line = line;
	err->col = col;
}
