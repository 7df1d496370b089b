/* fuzz_netlink.c - any datagrams as the kernel's answers to a batch: each message has an outcome, and
 * silence is success only when nothing was lost.
 *
 * The first two bytes say how many messages the batch has and where it begins to count; then come
 * datagrams, each after its length in two bytes.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "fuzz.h"
#include "sys/nlw.h"

static void answer(int sock, const uint8_t *data, size_t size)
{
	while (size >= 2) {
		size_t len = (size_t)data[0] << 8 | data[1];

		data += 2;
		size -= 2;
		len = len < size ? len : size;
		(void)send(sock, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		data += len;
		size -= len;
	}
}

static void flush(struct nlbatch *batch, int sock, unsigned n)
{
	struct err err = { 0 };
	int r = nlb_flush(batch, sock, io_now_ms(), &err), first = 0;

	for (unsigned i = 0; i < n; i++) {
		const struct nlb_outcome *out = &batch->out[i];

		if (out->tag != i || strnlen(out->words, sizeof out->words) == sizeof out->words)
			abort();
		if (!first)
			first = out->code;
	}
	if (r != first || batch->n)
		abort();
}

/* A SOCK_SEQPACKET keeps datagrams apart, and does not mind the kernel's address. */
void judge(const uint8_t *data, size_t size)
{
	struct nlbatch batch;
	int ends[2], before = lowest_free();
	unsigned n;
	struct err err;

	if (size < 2 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return;
	if (nlb_init(&batch, &err) < 0)
		abort();
	n = data[0] % 8 + 1;
	batch.seq = data[1];
	for (unsigned i = 0; i < n; i++)
		nlb_dellink(&batch, i, i + 1);
	answer(ends[1], data + 2, size - 2);
	flush(&batch, ends[0], n);
	nlb_free(&batch);
	(void)close(ends[0]);
	(void)close(ends[1]);
	if (lowest_free() != before)
		abort();
}
