/*
 * error: the table of every reason that crosses the wire or reaches a program, in groups by who finds it out.
 *
 * Names are for programs and never change. Codes are for strerror(). Hints say what to do next; the text, what and why,
 * is written where the error is found, because only there the particulars are known.
 */
#include "error.h"
#include <errno.h>
#include <string.h>

static const struct error_reason reasons[] = {
	/* a broker or library that closes a connection, because of what came over it */
	{ "frame.magic", -EPROTO, "check that both ends speak the same version of brood" },
	{ "frame.kind", -EPROTO, "check that both ends speak the same version of brood" },
	{ "frame.length", -EMSGSIZE, "split the body: a frame carries at most 256 KiB, a control body 64 KiB" },
	{ "control.malformed", -EBADMSG, "check that both ends use the same brood.proto" },
	{ "control.limit", -EMSGSIZE, "ask for less at once" },
	{ "control.unknown", -EOPNOTSUPP, "see control.proto for what this broker answers" },
	{ "hello.expected", -EPROTO, "send HELLO as the first frame" },
	{ "hello.timeout", -ETIMEDOUT, "send HELLO as soon as it is connected" },
	{ "hello.denied", -EACCES, "check the user, the cookie file or the ticket" },
	{ "policy.connect", -EACCES, "have this user allowed in the section [policy] of broodd.conf" },
	{ "parent.denied", -EACCES, "have it allowed as parent in the section [policy] of broodd.conf" },
	{ "parent.unknown", -ESRCH, "start the parent first, or check the name with: brood ps" },
	{ "adopt.denied", -EPERM, "only give children ids of your own block, and your own user" },
	{ "died.denied", -EPERM, "only a process's parent may say that it died" },
	{ "fenced", -ESTALE, "another connection took over this id; connect anew for an id of your own" },
	{ "broker.full", -EMFILE, "raise the broker's limit of open files (LimitNOFILE=)" },

	/* a limit of the broker's configuration, which the text names */
	{ "limit.sessions", -EDQUOT, "close some, or have the limit raised in broodd.conf" },
	{ "limit.greetings", -EDQUOT, "say HELLO on some, or have the limit raised in broodd.conf" },
	{ "limit.rate", -EDQUOT, "connect less often, or have the limit raised in broodd.conf" },
	{ "limit.names", -EDQUOT, "give up some, or have the limit raised in broodd.conf" },
	{ "limit.watches", -EDQUOT, "watch fewer, or have the limit raised in broodd.conf" },
	{ "limit.destinations", -EDQUOT, "write to fewer, or have the limit raised in broodd.conf" },
	{ "limit.answers", -EDQUOT, "read what the broker answers, or have the limit raised in broodd.conf" },

	/* other hosts */
	{ "host.unknown", -EHOSTUNREACH, "check the name; the broker's configuration lists the hosts it knows" },
	{ "host.private", -EHOSTUNREACH, "a private broker has no links; set BROOD_ADDRESS to one that has" },

	/* a connection between the brokers of two nodes */
	{ "link.unknown", -EACCES, "add a section [peer \"NODE\"] to the configuration there, and reload it" },
	{ "link.name", -EEXIST, "give each node a name of its own, and dial each under its own" },
	{ "link.denied", -EACCES, "use one user for both brokers, or tls:// with certificates of: brood cert node" },
	{ "link.version", -EPROTONOSUPPORT, "install the same version of brood on both nodes" },
	{ "link.double", -EALREADY, "nothing: one connection is enough" },
	{ "link.silent", -ETIMEDOUT, "check that the other host, its broker and the network between are alive" },
	{ "link.source", -EPROTO, "check that both ends speak the same version of brood" },
	{ "link.transit", -EPROTO, "check that both ends speak the same version of brood" },
	{ "link.user", -EPROTO, "check that both ends speak the same version of brood" },
	{ "link.limit", -EDQUOT, "let fewer processes talk to other nodes" },

	/* what became of the broker */
	{ "broker.absent", -ENOENT, "start one with: broodd, or check BROOD_ADDRESS" },
	{ "broker.untrusted", -EPERM,
	  "check BROOD_ADDRESS; connect to a broker of root's, of the user \"brood\", or of your own" },
	{ "broker.lost", -ECONNRESET, "check the broker's log, and connect again" },
	{ "broker.stopping", -ESHUTDOWN, "the broker is going down; connect again when it runs" },

	/* names and addresses */
	{ "name.taken", -EADDRINUSE, "see who has it with: brood ps" },
	{ "name.denied", -EACCES,
	  "take another, or have it allowed as register, or owner of the name, in broodd.conf" },
	{ "name.invalid", -EINVAL, "use 1 to 63 of a-z 0-9 . _ - and begin with a letter, a digit or _" },
	{ "name.unknown", -ESRCH, "see which names there are with: brood ps, or wait for it with wait_ms" },
	{ "address.invalid", -EINVAL, "check the address that was given, or BROOD_ADDRESS" },

	/* other hosts */
	{ "host.unreachable", -EHOSTUNREACH,
	  "see: brood nodes; check that host, its broker, the address, and the certificates of both ends" },
	{ "nursery.missing", -ESRCH, "start one there: brood-nursery" },

	/* TLS: certificates, keys, and the other end of tls:// */
	{ "tls.unavailable", -EOPNOTSUPP, "install libssl3, and libbrood-tls.so.0 beside the library" },
	{ "tls.settings", -EINVAL, "set BROOD_TLS_CA, and BROOD_TLS_CERT with BROOD_TLS_KEY; see brood-cert(1)" },
	{ "tls.file", -ENOENT, "check the path, and that it is a PEM file" },
	{ "tls.write", -EIO, "check the directory, whether you may write there, and the room on its disk" },
	{ "tls.key", -EACCES, "make it yours alone: chmod 600" },
	{ "tls.mismatch", -EINVAL, "look at it with: brood cert show" },
	{ "tls.issuer", -EACCES, "give the CA that signed it" },
	{ "tls.expired", -EACCES, "make another with: brood cert" },
	{ "tls.early", -EACCES, "check the clocks of both hosts" },
	{ "tls.name", -EACCES, "dial a name that is in it" },
	{ "tls.usage", -EACCES, "make another with: brood cert" },
	{ "tls.weak", -EACCES, "make another with: brood cert" },
	{ "tls.revoked", -EACCES, "make another with: brood cert" },
	{ "tls.crl", -EACCES, "give a current list of every CA in the chain" },
	{ "tls.certificate", -EACCES, "make another with: brood cert" },
	{ "tls.missing", -EACCES, "set BROOD_TLS_CERT and BROOD_TLS_KEY; see brood-cert(1)" },
	{ "tls.refused", -EACCES, "see the other end's log" },
	{ "tls.user", -EACCES, "make another with: brood cert" },
	{ "tls.handshake", -EPROTO, "check that a broker's tls:// port is there" },
	{ "tls.plain", -EPROTO, "write the address with tls://" },
	{ "tls.cut", -ECONNRESET, "see the other end's log" },

	/* how a request or message ended */
	{ "deadline", -ETIMEDOUT, "allow more time, or see what the receiver does" },
	{ "cancelled", -ECANCELED, "" },
	{ "unanswered", -ENOMSG,
	  "the receiver's handler returned without a reply; make it answer or keep the message" },
	{ "unhandled", -ENOSYS, "the receiver has no handler for messages; give it one" },
	{ "undelivered", -ECONNRESET, "send it again if it must not be lost" },
	{ "fd.transport", -EXDEV, "connect both processes over one broker's Unix socket, not TCP" },
	{ "fd.lost", -EMFILE, "pass fewer at once, or raise the limit of open files (ulimit -n) where it says" },
	{ "fd.limit", -EMFILE, "close some, or raise the limit of open files (ulimit -n)" },
	{ "request.failed", -EREMOTEIO, "see the receiver's text" },

	/* what became of a peer */
	{ "peer.exited", -ESRCH, "see its exit status; start it again if it is needed" },
	{ "peer.left", -ECONNRESET, "it said goodbye; wait for it or find another" },
	{ "peer.lost", -ECONNRESET, "its connection ended without a goodbye; see whether it still runs" },
	{ "peer.restarted", -ECONNRESET, "find its successor, or start it again if it is needed" },
	{ "peer.away", -EAGAIN, "ask again" },
	{ "peer.unknown", -ESRCH, "see who is there with: brood ps" },
	{ "peer.denied", -EACCES, "have it allowed as send in the section [policy] of the broker's broodd.conf" },
	{ "why.unknown", -ESRCH, "see who is there with: brood ps, and who ended lately with: brood why" },
	{ "peer.closed", -ECONNRESET, "the broker closed its connection; see the broker's log" },
	{ "peer.forgot", -ECONNRESET, "it was away for longer than others wait; send it again if it must not be lost" },
	{ "stream.gap", -EPROTO, "this is a defect of brood: please report it, with the broker's log" },
	{ "peer.protocol", -EPROTO, "check that both ends speak the same version of brood" },

	/* starting a program */
	{ "spawn.exec", -ENOENT, "check the path, its permissions and, for a script, its first line" },
	{ "spawn.cwd", -ENOENT, "check that the directory exists and may be entered" },
	{ "spawn.fork", -EAGAIN, "check the limits of processes, memory and open files (ulimit -u -n, TasksMax=)" },
	{ "spawn.group", -EPERM, "" },
	{ "spawn.terminal", -ENOTTY, "" },
	{ "spawn.limits", -EPERM, "only a privileged process raises hard limits; see prlimit(1)" },
	{ "spawn.ids", -EPERM, "only a privileged process may change user and groups" },
	{ "spawn.line", -EMFILE, "check the limit of open files (ulimit -n)" },
	{ "spawn.stdio", -EBADF, "check that the descriptors given are open, and the limit of open files (ulimit -n)" },
	{ "spawn.broker", -ENOTCONN, "start a broker, or spawn with BROOD_PLAIN, which needs none" },
	{ "spawn.cancelled", -ECANCELED, "" },
	{ "spawn.denied", -EACCES, "have it allowed in the nursery's configuration, there" },
	{ "spawn.unknown", -ENOENT, "have a section for it written in the nursery's configuration, there" },
	{ "spawn.limit", -EAGAIN, "wait until some have ended, or have the limit raised there" },
	{ "spawn.host", -EHOSTUNREACH, "check that host, its nursery, and the network between" },
	{ "host.lost", -EHOSTUNREACH, "check that host, and the network between" },
	{ "spawn.abroad", -EXDEV,
	  "use what goes between hosts: BROOD_NUL, BROOD_PIPE, BROOD_LOG, BROOD_MINE of 1 and 2" },

	/* Executions. */
	{ "exec.output", -ENOBUFS, "allow more with max_output, or spawn it and take the output as it comes" },
	{ "exec.timeout", -ETIMEDOUT, "allow more with timeout_ms" },
	{ "exec.killed", -ECANCELED, "" },
	{ "exec.code", -EREMOTEIO, "see what it wrote to its standard error" },
	{ "exec.signal", -EREMOTEIO, "see what it wrote to its standard error" },
	{ "input.closed", -EPIPE, "it ended, or closed its input, before it had read all" },
	{ "log.lost", -ENOTCONN, "start a broker, or take the output with BROOD_PIPE()" },

	/* calls that cannot be done */
	{ "argument", -EINVAL, "see the function's description in brood.h" },
	{ "window", -EAGAIN, "wait for DRAIN, or send with BROOD_BLOCK" },
	{ "peer.plain", -ENOTCONN, "spawn it without BROOD_PLAIN to exchange messages" },
	{ "kill.denied", -EPERM, "only the handle that spawned a process can signal it" },
	{ "kill.failed", -EPERM, "" },
	{ "pipe.unknown", -EBADF, "ask for it with BROOD_PIPE() or BROOD_TTY() in stdio" },
	{ "pipe.full", -EAGAIN, "wait for DRAIN of this descriptor" },
	{ "pipe.closed", -EPIPE, "" },
	{ "peer.untaken", -EDEADLK, "give it a table with an output member, or take events with brood_next()" },

	/* this process itself */
	{ "handle.copied", -ECHILD, "connect again in the copy" },
	{ "memory", -ENOMEM, "" },
};

const struct error_reason *error_reason(const char *name)
{
	static const struct error_reason other = { "other", -EREMOTEIO, "" };
	size_t i;

	for (i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
		if (strcmp(reasons[i].name, name) == 0)
			return &reasons[i];
	return &other;
}
