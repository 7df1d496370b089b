# faultcalls.py - makes one call of tapnet-lab fail, by wrap.c, and tells what was called from where.
import collections
import ctypes
import errno
import mmap
import re
import subprocess

SITES, SHORT = 8192, -1


class Site(ctypes.Structure):
    """wrap.c's struct site."""
    _fields_ = [("where", ctypes.c_uint64), ("calls", ctypes.c_uint32), ("after", ctypes.c_uint32),
                ("done", ctypes.c_uint32), ("name", ctypes.c_char * 44), ("sub", ctypes.c_int64)]

    def key(self):
        return self.where, self.name.decode(), self.sub


class Table(ctypes.Structure):
    """wrap.c's struct table."""
    _fields_ = [("calls", ctypes.c_uint64), ("nth", ctypes.c_uint64), ("where", ctypes.c_uint64),
                ("from_", ctypes.c_uint32), ("to", ctypes.c_uint32), ("how", ctypes.c_int32),
                ("fired", ctypes.c_uint32), ("fired_where", ctypes.c_uint64),
                ("then", ctypes.c_uint64), ("then_how", ctypes.c_int32),
                ("then_fired", ctypes.c_uint32), ("sites", Site * SITES)]


class Calls:
    """The file that a lab's processes share with us; plan() begins anew."""

    def __init__(self, path):
        self.path = path
        with open(path, "w+b") as file:
            file.truncate(ctypes.sizeof(Table))
            self.map = mmap.mmap(file.fileno(), 0)
        self.table = Table.from_buffer(self.map)
        self.env = {"TAPNET_FAIL": str(path)}

    def plan(self, where=0, how=0, first=1, last=None, nth=0, then=0, then_how=0):
        ctypes.memset(ctypes.addressof(self.table), 0, ctypes.sizeof(Table))
        self.table.where, self.table.how, self.table.nth = where, how, nth
        self.table.from_, self.table.to = first, last or first
        self.table.then, self.table.then_how = then, then_how

    def sites(self):
        """{(where, name, sub): calls}"""
        return {s.key(): s.calls for s in self.table.sites if s.done}

    def after(self):
        """Those that were called after the fault."""
        return [s.key() for s in self.table.sites if s.done and s.after]


def places(binary, wheres):
    """{where: "function file:line of the call, function file:line of its caller"}"""
    wheres = sorted(wheres)
    addresses = [hex(max(half - 1, 0)) for w in wheres for half in (w >> 32, w & 0xffffffff)]
    out = subprocess.run(["addr2line", "-e", str(binary), "-f", "-s", *addresses], text=True,
                         capture_output=True, check=False).stdout.splitlines()
    names = [re.sub(r" \(.*", "", f"{out[i]} {out[i + 1]}") for i in range(0, len(out) - 1, 2)]
    names += ["?"] * (2 * len(wheres))
    return {w: f"{names[2 * i]}, from {names[2 * i + 1]}" for i, w in enumerate(wheres)}


def labels(binary, sites):
    """{site: a name that stays when other code changes: functions, and the which of them it is}"""
    where, seen, found = places(binary, {site[0] for site in sites}), collections.Counter(), {}
    for site in sorted(sites):
        label = re.sub(r" \S+:\S+", "", where[site[0]]) + f" {site[1]} {site[2]}"
        seen[label] += 1
        found[site] = f"{label} {seen[label]}"
    return found


# How a call can fail. Names that are not here have no failure that can happen (kill() of our own
# child), or none that anybody could notice.
_ERRNOS = {
    "malloc calloc realloc reallocarray strdup strndup vasprintf mmap64 unshare setns chdir stat64 "
    "fstat64 fstatat64 access faccessat readlink readlinkat realpath getcwd opendir fdopendir "
    "fopen64 mount execve mkdir mkdirat epoll_ctl inotify_add_watch bind listen setgroups "
    "json_object_new_object json_object_new_array json_object_new_string json_object_new_boolean "
    "json_object_new_int json_object_new_int64 json_object_object_add json_object_array_add json_tokener_parse "
    "json_object_to_json_string_ext json_tokener_new_ex nl_socket_alloc nl_connect nl_send_auto "
    "nl_recvmsgs_default nlmsg_alloc_simple nlmsg_append nla_put_u32 nla_put_string "
    "getpwnam getgrnam sethostname fchown yaml_parser_initialize regcomp":
        [errno.ENOMEM],
    "open64 openat64": [errno.EMFILE, errno.ENOMEM, errno.EINTR],
    "socket socketpair accept4": [errno.EMFILE, errno.ENOBUFS],
    "pipe2 epoll_create1 signalfd inotify_init1": [errno.EMFILE, errno.ENOMEM],
    "dup2 dup3": [errno.EBUSY],
    "read pread64": [errno.ENOMEM, errno.EINTR, SHORT],
    "write": [errno.ENOSPC, errno.EINTR, SHORT],
    "copy_file_range": [errno.ENOSPC, SHORT],
    "posix_fallocate64": [errno.ENOSPC, errno.EINTR],
    "ftruncate64": [errno.ENOSPC],
    "unlinkat": [errno.EBUSY, errno.ENOMEM],
    "renameat": [errno.ENOSPC],
    "connect": [errno.EAGAIN, errno.ENOMEM, errno.EINTR],
    "setsockopt getsockopt": [errno.ENOBUFS],
    "send sendto sendmsg": [errno.ENOBUFS, errno.EINTR, errno.ENOMEM],
    "recv recvmsg": [errno.ENOBUFS, errno.EINTR, errno.ENOMEM],
    "poll epoll_wait": [errno.EINTR, errno.ENOMEM],
    "ioctl": [errno.ENOMEM, errno.EBUSY, errno.EINTR],
    "waitid nanosleep": [errno.EINTR],
    "setresgid setresuid": [errno.EAGAIN],
}
_BY_NAME = {name: hows for names, hows in _ERRNOS.items() for name in names.split()}
_SYSCALLS = {435: [errno.ENOMEM, errno.EAGAIN], 434: [errno.EMFILE, errno.ENOMEM], 438: [errno.EMFILE],
             321: [errno.ENOMEM], 322: [errno.ENOMEM]}  # clone3, pidfd_open, pidfd_getfd, bpf, execveat
_FCNTLS = {1030: [errno.EMFILE, errno.ENOMEM], 6: [errno.ENOLCK], 5: [errno.ENOMEM]}  # dup, (un)lock


def errnos(name, sub):
    return {"syscall": _SYSCALLS, "fcntl64": _FCNTLS}.get(name, {}).get(sub, _BY_NAME.get(name, []))
