/* journal.c - see journal.h. */
#include "run/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "base/rec.h"

#define MAGIC	  "TAPNETJ\n"
#define VERSION	  5u
#define SIZE_MAX_ ((off_t)512 << 20)

static const struct rec meta_table[] = {
	REC(REC_STR, struct journal_meta, name),
	REC(REC_STR, struct journal_meta, file),
	REC(REC_STR, struct journal_meta, dir),
	REC(REC_U32, struct journal_meta, uid),
	REC(REC_U32, struct journal_meta, created),
	REC(REC_U32, struct journal_meta, file_sum),
	REC(REC_U32, struct journal_meta, owner_uid),
	REC(REC_BOOL, struct journal_meta, trust_hooks),
	REC_LIST(struct journal_meta, env, n_env),
	REC_END,
};

/* FNV-1a over words of eight bytes: quick, and good enough against a torn file. */
static uint64_t checksum(const char *p, size_t len)
{
	uint64_t h = STR_HASH_INIT;

	for (; len >= 8; p += 8, len -= 8) {
		uint64_t w;

		memcpy(&w, p, 8);
		h = (h ^ w) * UINT64_C(0x100000001b3);
		h ^= h >> 29;
	}
	while (len--)
		h = (h ^ (unsigned char)*p++) * UINT64_C(0x100000001b3);
	return h;
}

static int boot_id(char out[40])
{
	struct strbuf buf autostr = STRBUF_INIT;
	int r = io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &buf);

	memset(out, 0, 40);
	if (r == 0)
		memcpy(out, buf.text, buf.len < 39 ? buf.len : 39);
	return r;
}

static int journal_map(struct journal *journal, int share, struct err *err)
{
	void *p = mmap(NULL, journal->size, PROT_READ | PROT_WRITE, share, journal->fd, 0);

	if (p == MAP_FAILED)
		return err_sys(err, -errno, "cannot map the journal");
	journal->head = p;
	return 0;
}

static int journal_fill(struct journal *journal, const struct strbuf *body, uint32_t meta_len,
			uint32_t n_slots, struct err *err)
{
	struct journal_head head = {
		.magic = MAGIC,
		.version = VERSION,
		.checksum = checksum(body->text, body->len),
		.meta_len = meta_len,
		.plan_len = (uint32_t)body->len - meta_len,
		.n_slots = n_slots,
		.report = -1,
	};
	size_t offset = (sizeof head + body->len + 63) & ~(size_t)63;
	int r = boot_id(head.boot_id);

	if (r < 0)
		return err_sys(err, r, "cannot read the boot id");
	memset(head.waiters, -1, sizeof head.waiters);
	head.slots_offset = (uint32_t)offset;
	journal->size = offset + n_slots * sizeof(struct slot);
	r = posix_fallocate(journal->fd, 0,
			    (off_t)journal->size); /* its blocks are ours from here on */
	if (r)
		return err_sys(err, -r, "no room for the journal (%zu kB)", journal->size >> 10);
	r = journal_map(journal, MAP_SHARED, err);
	if (r < 0)
		return r;
	memcpy(journal->head, &head, sizeof head);
	memcpy((char *)journal->head + sizeof head, body->text, body->len);
	journal->slots = (struct slot *)(void *)((char *)journal->head + offset);
	return 0;
}

int journal_create(int dir_fd, const struct journal_meta *meta, struct plan *plan,
		   struct journal *ret_journal, struct err *err)
{
	struct journal journal autojournal = JOURNAL_NONE;
	struct strbuf body autostr = STRBUF_INIT;
	uint32_t meta_len;
	int r;

	rec_encode(&body, meta_table, meta);
	meta_len = (uint32_t)body.len;
	plan_encode(plan, &body);
	if (body.failed)
		return err_sys(err, -ENOMEM, "cannot write the journal");
	journal.fd = openat(dir_fd, "journal.new",
			    O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (journal.fd < 0)
		return err_sys(err, -errno, "cannot write the journal");
	r = journal_fill(&journal, &body, meta_len, (uint32_t)plan->n_steps, err);
	if (r == 0 && renameat(dir_fd, "journal.new", dir_fd, "journal") < 0)
		r = err_sys(err, -errno, "cannot write the journal");
	if (r < 0) {
		(void)unlinkat(dir_fd, "journal.new", 0);
		return r;
	}
	journal.meta = *meta;
	journal.plan = plan;
	*ret_journal = journal;
	journal = JOURNAL_NONE;
	return 0;
}

static int journal_check(const struct journal *journal, struct err *err)
{
	const struct journal_head *head = journal->head;
	size_t body = (size_t)head->meta_len + head->plan_len;
	char now[40];
	int r;

	if (memcmp(head->magic, MAGIC, sizeof head->magic) != 0)
		return err_set(err, -EBADMSG, "this is not a journal");
	if (head->version != VERSION)
		return err_set(err, -EBADMSG, "the journal is of version %u, this program's is %u",
			       head->version, VERSION);
	if (sizeof *head + body > head->slots_offset || head->slots_offset % 8 ||
	    head->slots_offset + (uint64_t)head->n_slots * sizeof(struct slot) > journal->size)
		return err_set(err, -EBADMSG, "the journal is truncated");
	if (checksum((const char *)(head + 1), body) != head->checksum)
		return err_set(err, -EBADMSG, "the journal is corrupt");
	r = boot_id(now);
	if (r < 0) /* not -ENOENT: it is not known whether anything of it lives */
		return err_set(err, -EIO, "cannot read the boot id: %s", strerror(-r));
	if (memcmp(now, head->boot_id, sizeof now) != 0)
		return err_set(err, -ESTALE, "the journal is from before the last boot");
	return 0;
}

static int journal_decode(struct journal *journal, struct err *err)
{
	const struct journal_head *head = journal->head;
	const char *body = (const char *)(head + 1);
	struct rec_cursor cursor = { .p = body, .left = head->meta_len };
	int r = arena_init(&journal->arena, 0, err);

	if (r < 0)
		return r;
	r = rec_decode(&journal->arena, &cursor, meta_table, &journal->meta);
	if (r == 0 && (!journal->meta.name || !journal->meta.dir || !journal->meta.file))
		r = -EBADMSG;
	if (r == 0)
		r = plan_decode(&journal->arena, body + head->meta_len, head->plan_len,
				&journal->plan);
	if (r < 0 || (uint32_t)journal->plan->n_steps != head->n_slots)
		return err_set(err, -EBADMSG, "the journal's plan cannot be read");
	journal->slots = (struct slot *)(void *)((char *)journal->head + head->slots_offset);
	return 0;
}

int journal_open(int dir_fd, struct journal *ret_journal, struct err *err)
{
	struct journal journal autojournal = JOURNAL_NONE;
	struct stat st;
	int share = MAP_SHARED, r;

	*ret_journal = JOURNAL_NONE;
	journal.fd = openat(dir_fd, "journal", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (journal.fd < 0 && errno == EROFS) {
		/* It is only read: what is written then is nobody else's. */
		journal.fd = openat(dir_fd, "journal", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		share = MAP_PRIVATE;
	}
	if (journal.fd < 0 || fstat(journal.fd, &st) < 0)
		return err_sys(err, -errno, "cannot open the journal");
	if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(struct journal_head) ||
	    st.st_size > SIZE_MAX_)
		return err_set(err, -EBADMSG, "the journal is truncated");
	journal.size = (size_t)st.st_size;
	r = journal_map(&journal, share, err);
	if (r == 0)
		r = journal_check(&journal, err);
	if (r == 0)
		r = journal_decode(&journal, err);
	if (r < 0)
		return r;
	*ret_journal = journal;
	journal = JOURNAL_NONE;
	return 0;
}

void journal_close(struct journal *journal)
{
	if (journal->head)
		(void)munmap(journal->head, journal->size);
	if (journal->copy)
		(void)munmap(journal->copy, journal->size);
	fd_closep(&journal->fd);
	arena_free(&journal->arena);
	*journal = JOURNAL_NONE;
}

bool journal_same(const struct journal *journal, const struct journal_meta *meta,
		  const struct plan *plan)
{
	struct strbuf body autostr = STRBUF_INIT;
	const char *there = (const char *)(journal->head + 1) + journal->head->meta_len;

	plan_encode(plan, &body);
	return !body.failed && str_eq(journal->meta.dir, meta->dir) &&
	       body.len == journal->head->plan_len && memcmp(body.text, there, body.len) == 0;
}
