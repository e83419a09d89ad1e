/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
 *
 * A port of an inline pair: every frame leaves on the other port, through the worker or, where that cannot be, as the
 * policy of the cause says.
 *
 *   frame -> verdicts: dropped, or shunted to the peer
 *         -> a cause against the worker?  its policy: to the peer in the kernel (bypassed), or dropped (withheld)
 *         -> socket of the queue
 *
 * Each frame raises `seen` and exactly one of `dropped_*`, `shunted`, `bypassed[]`, `withheld[]`, `redirected`. What the
 * peer port refuses of the frames given to it is counted by two tracepoints.
 */
#ifndef SHRIKE_PAIR_H
#define SHRIKE_PAIR_H

#include "verdict.h"

/* Why a frame does not go to the worker. Keep in step with `Cause` of pair_settings.rs. */
enum cause {
	CAUSE_STOP,     /* a planned stop, or an operator's bypass */
	CAUSE_CRASH,    /* no socket */
	CAUSE_HANG,     /* a socket and no beat */
	CAUSE_OVERLOAD, /* no room in the socket's ring */
	CAUSE_TOO_LONG, /* longer than a frame in memory */
	CAUSE_MODEL,    /* no model; said only where its policy is closed: else the worker goes on without */
	CAUSE_STORE,    /* nothing can be stored; as above */
	CAUSES
};

/* Keep in step with `PAIR_COUNTS` of counters.rs, which reads it by position. */
struct pair_counts {
	__u64 dropped_mac;
	__u64 dropped_flow;
	__u64 dropped_signature;
	__u64 dropped_prefix;
	__u64 shunted;
	__u64 bypassed[8];
	__u64 withheld[8];
	__u64 peer_refused;
	__u64 peer_dropped;
	__u64 reserved;
};

/* As shrike_xdp: slot queue * cpu_count + cpu. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct pair_counts);
} shrike_pair_xdp SEC(".maps");

/* What user space says. Bits by `enum cause`. */
struct pair_settings {
	__u64 limit_ns;  /* a beat older than this is none */
	__u64 closed;    /* causes whose frames are dropped */
	__u64 said;      /* causes said from outside: CAUSE_STOP, CAUSE_MODEL, CAUSE_STORE */
	__u64 operators; /* 1: an operator's bypass, as CAUSE_STOP and open whatever the policy; a planned stop is said besides */
	__u64 ring;      /* frames a socket's ring holds */
	__u64 longest;   /* bytes of the longest frame that fits */
	__u64 to_index;  /* interface index of the peer, for the tracepoint */
	__u64 from_index;
	__u64 namespace; /* inode of both ports' network namespace */
	__u64 held;      /* 1: this port is held down because the peer has no carrier; for user space */
	__u64 reserved[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pair_settings);
} shrike_pair SEC(".maps");

/* One queue's pulse: a line that the worker writes, and one that this program writes. */
struct pulse {
	__u64 beat_ns; /* CLOCK_MONOTONIC of the worker's latest turn */
	__u64 taken;   /* frames the worker took out of the ring */
	__u64 stopped; /* asked to stop, the worker has sent all up to this many given, and 1; STOPPED_AT_ONCE; 0: not asked */
	__u64 line_1[5];
	__u64 given;      /* redirected to the socket */
	__u64 refused;    /* of these, refused by it */
	__u64 overloaded; /* the ring was full, and has not been empty since */
	__u64 line_2[5];
};

/* Who stops does not wait until nothing is under way any more. */
#define STOPPED_AT_ONCE (~0ULL)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct pulse);
} shrike_pulse SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} shrike_peer SEC(".maps");

static __always_inline struct pair_counts *pair_slot(__u32 queue)
{
	__u32 row = likely(queue < config.queue_count) ? queue : config.queue_count;
	__u32 key = row * config.cpu_count + bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&shrike_pair_xdp, &key);
}

/* To the other port, or nowhere. Where it has gone, the map is empty: dropped, and counted as refused by it. */
static __always_inline int cross(struct pair_counts *counts)
{
	int action = bpf_redirect_map(&shrike_peer, 0, XDP_DROP);

	if (action != XDP_REDIRECT)
		counts->peer_refused++;
	return action;
}

static __always_inline int by_policy(const struct pair_settings *pair, struct pair_counts *counts, enum cause cause,
				     int opened)
{
	/* For the verifier: `cause` is a constant at every call, and below 8 in any case. */
	if (!opened && (pair->closed >> cause & 1)) {
		counts->withheld[cause & 7]++;
		return XDP_DROP;
	}
	counts->bypassed[cause & 7]++;
	return cross(counts);
}

/* Whether the worker, asked to stop, has sent every frame it was given: what passes it now overtakes none. That its ring was empty
 * when it looked would not do, a frame may have been given since. */
static __always_inline int has_stopped(struct pulse *pulse)
{
	__u64 stopped = *(volatile __u64 *)&pulse->stopped;

	return stopped && (stopped == pulse->given - pulse->refused + 1 || stopped == STOPPED_AT_ONCE);
}

SEC("xdp.frags")
int shrike_pair_port(struct xdp_md *ctx)
{
	__u32 queue = ctx->rx_queue_index, zero = 0;
	struct counts *counts = slot(queue);
	struct pair_counts *own = pair_slot(queue);
	struct pair_settings *pair = bpf_map_lookup_elem(&shrike_pair, &zero);
	struct pulse *pulse;
	__u64 now, bytes, beat, given, waiting, said, operators;
	int action, is_fresh;

	/* Cannot happen: all are in range by construction. The verifier wants the check; nothing may leak. */
	if (!counts || !own || !pair)
		return XDP_DROP;
	bytes = bpf_xdp_get_buff_len(ctx);
	counts->seen++;
	counts->bytes_seen += bytes;
	now = bpf_ktime_get_ns();

	switch (judge(ctx, now, bytes)) {
	case JUDGED_MAC:
		own->dropped_mac++;
		return XDP_DROP;
	case JUDGED_FLOW:
		own->dropped_flow++;
		return XDP_DROP;
	case JUDGED_SIGNATURE:
		own->dropped_signature++;
		return XDP_DROP;
	case JUDGED_PREFIX:
		own->dropped_prefix++;
		return XDP_DROP;
	case JUDGED_SHUNT:
		own->shunted++;
		return cross(own);
	default:
		break;
	}

	/* A queue beyond those that were there at the start has no worker. */
	pulse = bpf_map_lookup_elem(&shrike_pulse, &queue);
	/* Read once: an order that comes in between holds for the next frame. */
	operators = *(volatile __u64 *)&pair->operators;
	if (!pulse)
		return by_policy(pair, own, CAUSE_CRASH, operators != 0);
	beat = *(volatile __u64 *)&pulse->beat_ns;
	/* The beat may be younger than `now`: it was written after we looked at the clock. */
	is_fresh = now - beat <= pair->limit_ns || beat - now <= pair->limit_ns;
	said = *(volatile __u64 *)&pair->said;
	if (unlikely(said || operators)) {
		if ((operators || (said >> CAUSE_STOP & 1)) && (!is_fresh || has_stopped(pulse)))
			return by_policy(pair, own, CAUSE_STOP, operators != 0);
		if (said >> CAUSE_MODEL & 1)
			return by_policy(pair, own, CAUSE_MODEL, 0);
		if (said >> CAUSE_STORE & 1)
			return by_policy(pair, own, CAUSE_STORE, 0);
	}
	if (!is_fresh) {
		if (bpf_map_lookup_elem(&shrike_xsks, &queue))
			return by_policy(pair, own, CAUSE_HANG, 0);
		return by_policy(pair, own, CAUSE_CRASH, 0);
	}
	if (bytes > pair->longest)
		return by_policy(pair, own, CAUSE_TOO_LONG, 0);
	given = pulse->given;
	waiting = given - pulse->refused - *(volatile __u64 *)&pulse->taken;
	if (unlikely(pulse->overloaded)) {
		/* Until the ring was empty, so that order breaks twice an episode and not with every frame. */
		if ((__s64)waiting > 0)
			return by_policy(pair, own, CAUSE_OVERLOAD, 0);
		pulse->overloaded = 0;
	} else if (unlikely((__s64)waiting >= (__s64)pair->ring)) {
		pulse->overloaded = 1;
		return by_policy(pair, own, CAUSE_OVERLOAD, 0);
	}
	action = bpf_redirect_map(&shrike_xsks, queue, XDP_PASS);
	if (likely(action == XDP_REDIRECT)) {
		pulse->given = given + 1;
		counts->redirected++;
		return action;
	}
	return by_policy(pair, own, CAUSE_CRASH, 0);
}

/* As shrike_refused, for a pair's port: of its socket, and of its peer before the frame was queued there. */
SEC("raw_tp/xdp_redirect_err")
int shrike_pair_refused(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 zero = 0, noted = NOTE_PEER, map = (__u32)ctx->args[5], queue = (__u32)ctx->args[6];
	int error = (int)ctx->args[3];
	__u64 *sockets = bpf_map_lookup_elem(&shrike_notes, &zero);
	__u64 *peer = bpf_map_lookup_elem(&shrike_notes, &noted);
	struct counts *counts;
	struct pair_counts *own;
	struct pulse *pulse;

	if (peer && *peer == map) {
		own = pair_slot(config.queue_count);
		if (own)
			own->peer_refused++;
		return 0;
	}
	if (!sockets || *sockets != map)
		return 0;
	counts = slot(queue);
	if (!counts)
		return 0;
	refuse(counts, error);
	pulse = bpf_map_lookup_elem(&shrike_pulse, &queue);
	if (pulse)
		pulse->refused++;
	return 0;
}

/* Of the kernel's own structures only what is read, by names that libbpf finds the places of. */
struct ns_common {
	unsigned int inum;
} __attribute__((preserve_access_index));
struct net {
	struct ns_common ns;
} __attribute__((preserve_access_index));
struct net_device {
	int ifindex;
	struct {
		struct net *net;
	} __attribute__((preserve_access_index)) nd_net;
} __attribute__((preserve_access_index));

/* args: from, to, sent, drops, error (include/trace/events/xdp.h): what the peer's driver did not take of a batch. */
SEC("tp_btf/xdp_devmap_xmit")
int shrike_pair_crossed(__u64 *args)
{
	const struct net_device *from = (const struct net_device *)args[0], *to = (const struct net_device *)args[1];
	int drops = (int)args[3];
	__u32 zero = 0;
	struct pair_settings *pair;
	struct pair_counts *own;

	if (drops <= 0)
		return 0;
	pair = bpf_map_lookup_elem(&shrike_pair, &zero);
	if (!pair || pair->from_index != (__u64)from->ifindex || pair->to_index != (__u64)to->ifindex ||
	    pair->namespace != (__u64)to->nd_net.net->ns.inum)
		return 0;
	own = pair_slot(config.queue_count);
	if (own)
		own->peer_dropped += drops;
	return 0;
}

#endif
