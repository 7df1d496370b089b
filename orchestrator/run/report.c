/* report.c - see report.h. */
#include "run/report.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "base/io.h"

#define SEND_MS	     2000 /* a reader that is alive takes a message within this */
#define NO_MEMORY_MS 300  /* it passes, or the reader is given up */

static int report_try(int fd, const struct msghdr *msg)
{
	const int64_t begin = io_now_ms();
	int r;

	for (;;) {
		if (sendmsg(fd, msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return 0;
		r = -errno;
		if (r == -EAGAIN) {
			if (io_wait(fd, POLLOUT, begin + SEND_MS) <= 0)
				return r;
		} else if (r == -ENOMEM || r == -ENOBUFS) {
			if (io_now_ms() >= begin + NO_MEMORY_MS)
				return r;
			io_nap();
		} else if (r != -EINTR) {
			return r;
		}
	}
}

static void report_out(int fd, struct report *report, const char *text, size_t len)
{
	struct iovec iov[2];
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	int r;

	if (fd < 0)
		return;
	report->len = (uint32_t)(len < REPORT_TEXT ? len : REPORT_TEXT);
	iov[0] = (struct iovec){ report, offsetof(struct report, text) };
	iov[1] = (struct iovec){ (void *)(uintptr_t)text, report->len };
	r = report_try(fd, &msg);
	if (r == -ENOMEM || r == -ENOBUFS) /* it would wait for what never comes */
		(void)shutdown(fd, SHUT_RDWR);
}

void report_send(int fd, enum report_type type, uint32_t value, const char *text, size_t len)
{
	struct report report;

	memset(&report, 0, offsetof(struct report, text));
	report.type = (uint32_t)type;
	report.value = value;
	report_out(fd, &report, text, len);
}

void report_error(int fd, const struct err *err)
{
	struct report report;

	memset(&report, 0, offsetof(struct report, text));
	report.type = REPORT_ERROR;
	report.code = err->code;
	report.status = (int32_t)err->status;
	report.line = err->line;
	report.col = err->col;
	report_out(fd, &report, err->msg, strlen(err->msg));
}

int report_recv(int fd, struct report *ret_report)
{
	ssize_t n;

	do {
		n = recv(fd, ret_report, sizeof *ret_report, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	if (n == 0)
		return 0;
	if ((size_t)n < offsetof(struct report, text) ||
	    ret_report->len != (size_t)n - offsetof(struct report, text))
		return -EBADMSG;
	return 1;
}
