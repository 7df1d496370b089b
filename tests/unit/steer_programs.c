/* steer_programs.c - a user's steering programs, for test_sys_tap.c: compiled for the kernel's
 * virtual machine, with nothing included. */
#define SECTION(name) __attribute__((section(name), used))

char words[] SECTION("license") = "GPL";

struct frame { /* the kernel's struct __sk_buff begins so */
	unsigned len;
};

#if defined(TURNS) /* queue 0, 1, 2 …; its variable is a map, which must live as long as it does */
static unsigned turn;

SECTION("xdp") int not_this_one(struct frame *frame)
{
	return (int)frame->len;
}
SECTION("socket/turns") int turns(struct frame *frame)
{
	(void)frame;
	return (int)turn++;
}
#elif defined(FIRST)   /* no section of that name: the first, by the length's last bit */
SECTION("my_length") int by_length(struct frame *frame)
{
	return (int)(frame->len & 1);
}
SECTION("my_last") int last(struct frame *frame)
{
	(void)frame;
	return 0;
}
#elif defined(REFUSED) /* reads where nothing is */
SECTION("socket") int refused(struct frame *frame)
{
	return (int)frame[1000].len;
}
#endif
