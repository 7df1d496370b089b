/* program.c - see program.h. */
#include "op/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "op/user.h"

#define LAST_LINES 3
#define EXEC_MS	   10000 /* a program is executed well within this */
#define KILL_MS	   2000	 /* a killed process is gone well within this */
#define USER_WORD  300

const struct rec program_table[] = {
	REC_LIST(struct program, argv, argc),
	REC_LIST(struct program, env, n_env),
	REC(REC_STR, struct program, user),
	REC_END,
};

char *program_expand(const struct ctx *ctx, const char *s)
{
	struct strbuf buf = STRBUF_INIT;

	while (*s) {
		const char *value = NULL;
		size_t len = strcspn(s, "\x01");

		strbuf_add(&buf, s, len);
		s += len;
		if (str_starts(s, STEP_DIR)) {
			value = ctx->dir;
			s += strlen(STEP_DIR);
		} else if (str_starts(s, STEP_RUN)) {
			value = ctx->run;
			s += strlen(STEP_RUN);
		} else if (str_starts(s, STEP_IFNAME)) {
			value = ctx->ifname;
			s += strlen(STEP_IFNAME);
		} else if (*s) {
			s++;
		}
		if (value)
			strbuf_puts(&buf, value);
	}
	strbuf_add(&buf, "", 0); /* on the heap even when empty */
	if (buf.failed)
		strbuf_free(&buf);
	return buf.cap ? buf.text : NULL;
}

static bool env_same_key(const char *a, const char *b)
{
	size_t len = strcspn(a, "=");

	return strncmp(a, b, len) == 0 && b[len] == '=';
}

/* Sets K=V in env of n entries, replacing an earlier K. Takes kv over. */
static size_t env_set(char **env, size_t n, char *kv)
{
	for (size_t i = 0; i < n; i++)
		if (env_same_key(kv, env[i])) {
			free(env[i]);
			env[i] = kv;
			return n;
		}
	env[n] = kv;
	return n + 1;
}

static size_t strs_count(const char *const *strs)
{
	size_t n = 0;

	while (strs && strs[n])
		n++;
	return n;
}

/* The numbers of its user, and "K=V" of who that is, in place of the caller's. */
static int fill_user(const struct program *program, struct started_program *out,
		     char words[3][USER_WORD], const char *env[4], struct err *err)
{
	struct user user;
	int r = user_find(program->user, &user, err);

	if (r < 0)
		return r;
	out->uid = user.uid;
	out->gid = user.gid;
	if (!user.name)
		return 0;
	(void)snprintf(words[0], USER_WORD, "HOME=%s", user.home);
	(void)snprintf(words[1], USER_WORD, "USER=%s", user.name);
	(void)snprintf(words[2], USER_WORD, "LOGNAME=%s", user.name);
	for (int i = 0; i < 3; i++)
		env[i] = words[i];
	return 0;
}

int program_fill(const struct ctx *ctx, const struct program *program, const char *const *more_env,
		 struct started_program *ret_program, struct err *err)
{
	char words[3][USER_WORD];
	const char *user_env[4] = { NULL };
	size_t n = 0, room = strs_count(ctx->env) + COUNT(user_env) + (size_t)program->n_env +
			     strs_count(more_env) + 1;
	const char *const *sources[] = { ctx->env, user_env, program->env, more_env };
	bool failed = false;

	*ret_program = (struct started_program){
		.argv = calloc((size_t)program->argc + 1, sizeof(char *)),
		.env = calloc(room, sizeof(char *)),
		.uid = -1,
		.gid = -1,
	};
	if (program->user && fill_user(program, ret_program, words, user_env, err) < 0)
		return err->code;
	if (!ret_program->argv || !ret_program->env)
		return err_sys(err, -ENOMEM, "cannot start %s", program_name(program));
	for (int i = 0; i < program->argc && !failed; i++)
		failed = !(ret_program->argv[i] = program_expand(ctx, program->argv[i]));
	for (size_t k = 0; k < COUNT(sources); k++)
		for (size_t i = 0; sources[k] && sources[k][i] && !failed; i++) {
			char *kv = program_expand(ctx, sources[k][i]);

			failed = !kv;
			if (kv)
				n = env_set(ret_program->env, n, kv);
		}
	return failed ? err_sys(err, -ENOMEM, "cannot start %s", program_name(program)) : 0;
}

static void strs_free(char **strs)
{
	for (size_t i = 0; strs && strs[i]; i++)
		free(strs[i]);
	free(strs);
}

void program_free(struct started_program *program)
{
	strs_free(program->argv);
	strs_free(program->env);
	*program = (struct started_program){ 0 };
}

int program_log(const struct ctx *ctx, const char *name, struct err *err)
{
	int fd = openat(ctx->run_fd, name,
			O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

	return fd < 0 ? err_sys(err, -errno, "cannot open the log %s/%s", ctx->run, name) : fd;
}

/* Where the last n lines of text begin. */
static size_t last_lines(const char *text, size_t len, int n)
{
	while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	while (len) {
		if (text[len - 1] == '\n' && --n == 0)
			break;
		len--;
	}
	return len;
}

void program_last_words(const struct ctx *ctx, const char *name, off_t from, struct err *err)
{
	char text[4096];
	struct strbuf out __attribute__((cleanup(strbuf_free))) = STRBUF_INIT;
	autofd int fd = openat(ctx->run_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	ssize_t n;
	off_t at;

	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	at = st.st_size - (off_t)sizeof text > from ? st.st_size - (off_t)sizeof text : from;
	n = pread(fd, text, sizeof text, at);
	if (n <= 0)
		return;
	for (size_t i = last_lines(text, (size_t)n, LAST_LINES); i < (size_t)n;) {
		size_t len = strcspn(text + i, "\n");

		if (len > (size_t)n - i)
			len = (size_t)n - i;
		strbuf_puts(&out, "\n    ");
		strbuf_safe(&out, text + i, len && text[i + len - 1] == '\r' ? len - 1 : len);
		i += len + 1;
	}
	n = (ssize_t)strlen(err->msg);
	(void)snprintf(err->msg + n, sizeof err->msg - (size_t)n, "%s", out.text);
}

int program_wait(struct ctx *ctx, struct spawned *spawned, uint32_t timeout_ms, struct err *err)
{
	char words[64];
	int64_t deadline = io_now_ms() + timeout_ms;
	int status = 0, r = ctx->wait(ctx, spawned->pidfd, POLLIN, deadline);

	if (r <= 0)
		(void)kill(-spawned->pid, SIGKILL); /* its session is its own: the whole group */
	if (spawn_wait(spawned->pidfd, io_now_ms() + KILL_MS, &status) == 0)
		return err_set(err, -ETIMEDOUT, "cannot be killed");
	if (r == 0 && deadline > ctx->deadline)
		return err_set(err, -ETIMEDOUT,
			       "not done when the lab's --timeout was over, killed");
	if (r == 0)
		return err_set(err, -ETIMEDOUT, "not done within %g s, killed",
			       timeout_ms / 1000.0);
	if (r < 0)
		return err_sys(err, r, "not waited for");
	/* What it left in its group would hold fds that nobody knows of. */
	if (status != 0) {
		(void)kill(-spawned->pid, SIGKILL);
		return err_set(err, -EREMOTEIO, "%s", spawn_status_words(status, words));
	}
	return 0;
}

static off_t log_size(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : st.st_size;
}

int program_run(struct ctx *ctx, struct spawn *spawn, const struct program *program,
		const char *log_name, uint32_t timeout_ms, off_t *ret_from, struct err *err)
{
	struct started_program filled autoprogram = { 0 };
	struct spawned spawned = SPAWNED_NONE;
	autofd int log = program_log(ctx, log_name, err); /* -1: it costs the log, not the hook */
	const char *const *more = spawn->env;
	int r;

	log = log < 0 ? -1 : log;
	*ret_from = log < 0 ? 0 : log_size(log);
	r = ctx_enter(ctx, SPACE_HOST, err); /* a step before it may have left us elsewhere */
	if (r == 0)
		r = program_fill(ctx, program, more, &filled, err);
	if (r < 0)
		return r;
	spawn->argv = (const char *const *)filled.argv;
	spawn->env = (const char *const *)filled.env;
	spawn->cwd = ctx->dir;
	spawn->in = spawn->tty = -1;
	spawn->out = spawn->err = log;
	spawn->uid = filled.uid;
	spawn->gid = filled.gid;
	spawn->die_with_parent = true;
	spawn->nofile = ctx->nofile;
	r = spawn_start(spawn, &spawned, err);
	if (r == 0)
		r = spawn_result(&spawned, io_now_ms() + EXEC_MS, err);
	if (r < 0 && spawned.report >= 0) /* it may run: as of a message whose answer was lost */
		r = err->code = -EIO;
	if (r == 0) {
		r = program_wait(ctx, &spawned, timeout_ms, err);
		if (r < 0)
			program_last_words(ctx, log_name, *ret_from, err);
	}
	fd_closep(&spawned.pidfd);
	fd_closep(&spawned.report);
	return r;
}

const char *program_name(const struct program *program)
{
	if (program->argc >= 3 && str_eq(program->argv[0], "/bin/sh") &&
	    str_eq(program->argv[1], "-c"))
		return program->argv[2];
	return program->argc ? program->argv[0] : "-";
}

static void describe_word(const char *word, struct strbuf *out)
{
	bool plain = *word &&
		     strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				  "%+,-./:=@_") == strlen(word);

	if (!plain)
		strbuf_puts(out, "'");
	for (const char *p = word; *p; p++) {
		size_t len = strcspn(p, "\x01\x02'");

		strbuf_safe(out, p, len);
		p += len;
		if (!*p)
			break;
		strbuf_puts(out, *p == '\x01' ? "${" : *p == '\x02' ? "}" : "'\\''");
	}
	if (!plain)
		strbuf_puts(out, "'");
}

void program_describe(const struct program *program, struct strbuf *out)
{
	for (int i = 0; i < program->argc; i++) {
		if (i)
			strbuf_puts(out, " ");
		describe_word(program->argv[i], out);
	}
}
