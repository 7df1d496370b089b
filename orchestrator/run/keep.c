/* keep.c - a living lab's journal, whatever is done to its file.
 *
 * Theory of operation. Guardian and worker have the file mapped, since nothing else outlives both of
 * them. Whoever truncates or overwrites it changes what they know: the rest of a page becomes zero,
 * and a page that is no more is a SIGBUS. So they share a copy, in memory without a file, to which
 * all is added that has been settled. At the first sign of a change (inotify, the size, the signal)
 * the file is put back from it. Where that cannot be, on a full disk, the copy takes the mapping's
 * place, and the file is lost to `gc` alone.
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run/journal.h"

#define FAULTS_MAX 8 /* whoever goes on truncating gets a file of his own */

int journal_copy(struct journal *journal, struct err *err)
{
	void *p = mmap(NULL, journal->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		       0);

	if (p == MAP_FAILED)
		return err_sys(err, -errno, "no memory for the journal");
	memcpy(p, journal->head, journal->size);
	journal->copy = p;
	return 0;
}

/* By system calls alone, as in a handler of signals. Half a file would harm those who read it. */
static bool put_back(const struct journal *journal)
{
	const char *from = (const char *)journal->copy;
	size_t at = 0;

	while (at < journal->size) {
		ssize_t n = pwrite(journal->fd, from + at, journal->size - at, (off_t)at);

		if (n <= 0 && errno != EINTR) {
			(void)ftruncate(journal->fd, 0);
			return false;
		}
		at += n > 0 ? (size_t)n : 0;
	}
	return ftruncate(journal->fd, (off_t)journal->size) == 0;
}

/* Of no length: another mapping of the same pages, which both processes have. */
static bool lay_over(struct journal *journal)
{
	void *p = mremap(journal->copy, 0, journal->size, MREMAP_MAYMOVE | MREMAP_FIXED,
			 journal->head);

	journal->apart = p != MAP_FAILED;
	return journal->apart;
}

static bool in_place(const struct journal *journal)
{
	struct stat st;

	return journal->apart ||
	       (fstat(journal->fd, &st) == 0 && st.st_size >= (off_t)journal->size &&
		memcmp(journal->head, journal->copy, offsetof(struct journal_head, state)) == 0);
}

void journal_mend(struct journal *journal, bool touched)
{
	if (!journal->copy || journal->apart)
		return;
	if (in_place(journal) &&
	    (!touched || memcmp(journal->head, journal->copy, journal->size) == 0))
		return;
	if (!put_back(journal))
		(void)lay_over(journal);
}

void journal_keep(struct journal *journal, uint32_t first, uint32_t n)
{
	struct slot *slots;

	if (!journal->copy)
		return;
	if (!in_place(journal)) {
		journal_mend(journal, false);
		return;
	}
	slots = (struct slot *)(void *)((char *)journal->copy + journal->head->slots_offset);
	memcpy(slots + first, journal->slots + first, n * sizeof *slots);
	memcpy(journal->copy, journal->head, sizeof *journal->head);
}

static struct journal *guarded;

static void on_bus(int sig, siginfo_t *info, void *context)
{
	static int times;
	const char *at = info->si_addr, *from = (const char *)guarded->head;
	int before = errno;

	(void)context;
	if (at < from || at >= from + guarded->size || guarded->apart ||
	    ((++times > FAULTS_MAX || !put_back(guarded)) && !lay_over(guarded)))
		(void)signal(sig, SIG_DFL); /* once more, and it is the end */
	errno = before;
}

void journal_guard(struct journal *journal)
{
	struct sigaction action = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };

	guarded = journal;
	(void)sigaction(SIGBUS, &action, NULL);
}
