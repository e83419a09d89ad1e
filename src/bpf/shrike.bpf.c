// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Shrike's XDP program: every frame of a queue goes to the AF_XDP socket of that queue.
 *
 *   frame -> [shared interface only: ARP, neighbour discovery, management] --> copy to the worker, pass to the kernel
 *         -> socket of the queue there?  yes: redirect
 *                                        no:  pass to the kernel (the process is away)
 *
 * Each frame raises `seen` and exactly one of `redirected`, `passed_*`: the left part of the loss equation. A redirect
 * that the socket refuses is counted by the second program, on the tracepoint the kernel fires for each of them; so
 * what is lost while nobody can read the socket's own statistics (a killed process, a full ring) is still known.
 *
 * Counters are kept per queue and CPU: a slot has one writer (XDP runs with bottom halves off), so plain adds are exact
 * and cost no locked instruction. Not so on a kernel with PREEMPT_RT from 6.18 on without PREEMPT_RT_NEEDS_BH_LOCK.
 *
 * A driver that is being set down takes the program out of its queues before it stops to poll them (veth_disable_xdp, then
 * veth_napi_del): what it still polls goes to the kernel unseen. A third program stands behind, where the stack begins
 * (tcx), and counts these as `bypassed`; it knows them by the mark that the first leaves on whatever it passes.
 */
#include "kernel.h"

/* Set by the loader before the program is loaded (program.rs writes it as four words). */
const volatile struct {
	__u32 cpu_count;
	__u32 queue_count;
	__u32 shared_interface;
	__u32 reserved;
} config = { 1, 1, 0, 0 };

/* Keep in step with `XDP_COUNTS` of src/dataplane/capture/xdp/counters.rs, which reads it by position. */
struct counts {
	__u64 seen;
	__u64 redirected;
	__u64 passed_arp;
	__u64 passed_neighbour;
	__u64 passed_management;
	__u64 passed_no_socket;
	__u64 copied;
	__u64 copy_lost;
	__u64 refused_ring_full;
	__u64 refused_no_frame;
	__u64 refused_too_long;
	__u64 refused_unbound;
	__u64 refused_other;
	__u64 bytes_seen;
	__u64 bypassed;
	__u64 reserved;
};

/* Slot queue * cpu_count + cpu; one row more for the frames of queues beyond queue_count. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct counts);
} shrike_xdp SEC(".maps");

/* The worker's own counters, one entry per queue; this program never touches it. Here so that it is made, pinned and
 * re-used together with the others. 320 cells of 64 bits: see counters.rs. */
struct worker_cells {
	__u64 cell[320];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct worker_cells);
} shrike_worker SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} shrike_xsks SEC(".maps");

/* What must be remembered of the attachment. 0: kernel id of shrike_xsks (the tracepoint reports refused redirects of
 * every map of the machine); 1 to 3: NAPI settings to restore, see program.rs; 4: the driver takes no mark;
 * 5: whose layout the counts have, see counters.rs; 6: kernel id of shrike_peer, of a pair's port. */
#define NOTE_NO_MARK 4
#define NOTE_PEER 6
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 7);
	__type(key, __u32);
	__type(value, __u64);
} shrike_notes SEC(".maps");

/* RSS settings to restore, see rss.rs; this program never touches it. */
struct rss_before {
	__u8 bytes[16384];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rss_before);
} shrike_rss SEC(".maps");

/* (protocol, destination port) left to the kernel on a shared interface. */
struct port_key {
	__u8 protocol;
	__u8 zero;
	__u16 port; /* network order */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct port_key);
	__type(value, __u8);
} shrike_ports SEC(".maps");

/* Source or destination prefixes left to the kernel on a shared interface; IPv4 as ::ffff:a.b.c.d. */
struct address_key {
	__u32 prefix_bits;
	__u8 address[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 64);
	__type(key, struct address_key);
	__type(value, __u8);
} shrike_addresses SEC(".maps");

/* Copies of passed frames, one ring per queue so that each has one reader. Records: see mirror.rs. */
struct mirror_ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 262144);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct mirror_ring);
} shrike_mirrors SEC(".maps");

#define SMALL_COPY 120
#define LARGE_COPY 2040

struct copy_head {
	__u32 wire_bytes;
	__u32 captured_bytes;
};

struct small_copy {
	struct copy_head head;
	__u8 bytes[SMALL_COPY];
};

struct large_copy {
	struct copy_head head;
	__u8 bytes[LARGE_COPY];
};

static __always_inline struct counts *slot(__u32 queue)
{
	__u32 row = likely(queue < config.queue_count) ? queue : config.queue_count;
	__u32 key = row * config.cpu_count + bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&shrike_xdp, &key);
}

/* Copies the frame for the worker; the wire's length is kept where the copy is cut. */
static __always_inline void copy_to_worker(struct xdp_md *ctx, __u32 queue, struct counts *counts)
{
	__u32 wire = (__u32)bpf_xdp_get_buff_len(ctx);
	void *ring = bpf_map_lookup_elem(&shrike_mirrors, &queue);

	if (!ring || wire == 0)
		goto lost;
	if (wire <= SMALL_COPY) {
		struct small_copy *copy = bpf_ringbuf_reserve(ring, sizeof(*copy), 0);
		__u32 length = wire;
		if (!copy)
			goto lost;
		copy->head.wire_bytes = wire;
		copy->head.captured_bytes = wire;
		/* For the verifier: `length` is in a register of its own and has both bounds. */
		asm volatile("" : "+r"(length));
		if (length < 1 || length > SMALL_COPY || bpf_xdp_load_bytes(ctx, 0, copy->bytes, length)) {
			bpf_ringbuf_discard(copy, 0);
			goto lost;
		}
		bpf_ringbuf_submit(copy, 0);
	} else {
		struct large_copy *copy = bpf_ringbuf_reserve(ring, sizeof(*copy), 0);
		__u32 length = wire < LARGE_COPY ? wire : LARGE_COPY;
		if (!copy)
			goto lost;
		copy->head.wire_bytes = wire;
		copy->head.captured_bytes = length;
		asm volatile("" : "+r"(length));
		if (length < 1 || length > LARGE_COPY || bpf_xdp_load_bytes(ctx, 0, copy->bytes, length)) {
			bpf_ringbuf_discard(copy, 0);
			goto lost;
		}
		bpf_ringbuf_submit(copy, 0);
	}
	counts->copied++;
	return;
lost:
	counts->copy_lost++;
}

static __always_inline int listed_address(const struct address_key *key)
{
	return bpf_map_lookup_elem(&shrike_addresses, key) != 0;
}

/* Which counter a frame that the kernel must keep belongs to; 0 for the frames that are the worker's alone. */
enum kept { NOT_KEPT, KEPT_ARP, KEPT_NEIGHBOUR, KEPT_MANAGEMENT };

static __always_inline enum kept classify(struct xdp_md *ctx)
{
	__u8 *data = (__u8 *)(long)ctx->data;
	__u8 *end = (__u8 *)(long)ctx->data_end;
	struct address_key source = { .prefix_bits = 128 }, destination = { .prefix_bits = 128 };
	struct port_key port = {};
	__u32 offset = 14;
	__u16 type;
	__u8 *ip, *transport;

	if (data + 14 > end)
		return NOT_KEPT;
	type = (data[12] << 8) | data[13];
#pragma unroll
	for (int tag = 0; tag < 2; tag++) {
		if (type != 0x8100 && type != 0x88a8)
			break;
		if (data + offset + 4 > end)
			return NOT_KEPT;
		type = (data[offset + 2] << 8) | data[offset + 3];
		offset += 4;
	}
	if (type == 0x0806)
		return KEPT_ARP;

	ip = data + offset;
	if (type == 0x0800) {
		__u32 header;
		if (ip + 20 > end)
			return NOT_KEPT;
		header = (ip[0] & 15) * 4;
		port.protocol = ip[9];
		source.address[10] = source.address[11] = 0xff;
		destination.address[10] = destination.address[11] = 0xff;
		__builtin_memcpy(source.address + 12, ip + 12, 4);
		__builtin_memcpy(destination.address + 12, ip + 16, 4);
		if (listed_address(&source) || listed_address(&destination))
			return KEPT_MANAGEMENT;
		/* A later fragment has no ports: its first fragment decided, and the address list is the way to keep both. */
		if (((ip[6] & 0x1f) | ip[7]) != 0)
			return NOT_KEPT;
		if (header < 20)
			return NOT_KEPT;
		transport = ip + header;
	} else if (type == 0x86dd) {
		if (ip + 40 > end)
			return NOT_KEPT;
		port.protocol = ip[6];
		__builtin_memcpy(source.address, ip + 8, 16);
		__builtin_memcpy(destination.address, ip + 24, 16);
		if (listed_address(&source) || listed_address(&destination))
			return KEPT_MANAGEMENT;
		transport = ip + 40;
		/* Router and neighbour discovery, redirect: types 133 to 137 (RFC 4861). */
		if (port.protocol == 58) {
			if (transport + 1 > end)
				return NOT_KEPT;
			return transport[0] >= 133 && transport[0] <= 137 ? KEPT_NEIGHBOUR : NOT_KEPT;
		}
	} else {
		return NOT_KEPT;
	}
	if (port.protocol != 6 && port.protocol != 17)
		return NOT_KEPT;
	if (transport + 4 > end)
		return NOT_KEPT;
	__builtin_memcpy(&port.port, transport + 2, 2);
	return bpf_map_lookup_elem(&shrike_ports, &port) ? KEPT_MANAGEMENT : NOT_KEPT;
}

/* In the metadata before a frame that the program saw and passed. */
#define MARK 0x6b726873

/* Passes a frame, marked as seen. Where the driver has no room for metadata, nothing can be told apart behind: that is
 * noted before the frame gets there, and `bypassed` stands still. */
static __always_inline int pass(struct xdp_md *ctx)
{
	__u32 note = NOTE_NO_MARK, *mark;
	__u64 one = 1;

	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*mark)) == 0) {
		mark = (__u32 *)(long)ctx->data_meta;
		if ((void *)(mark + 1) <= (void *)(long)ctx->data) {
			*mark = MARK;
			return XDP_PASS;
		}
	}
	bpf_map_update_elem(&shrike_notes, &note, &one, 0);
	return XDP_PASS;
}

SEC("xdp.frags")
int shrike_capture(struct xdp_md *ctx)
{
	__u32 queue = ctx->rx_queue_index;
	struct counts *counts = slot(queue);
	int action;

	/* Cannot happen: the slot's number is in range by construction. The verifier wants the check. */
	if (!counts)
		return pass(ctx);
	counts->seen++;
	counts->bytes_seen += bpf_xdp_get_buff_len(ctx);

	if (config.shared_interface) {
		enum kept kept = classify(ctx);
		if (kept != NOT_KEPT) {
			if (kept == KEPT_ARP)
				counts->passed_arp++;
			else if (kept == KEPT_NEIGHBOUR)
				counts->passed_neighbour++;
			else
				counts->passed_management++;
			copy_to_worker(ctx, queue, counts);
			return pass(ctx);
		}
	}

	/* An empty slot gives the action in the flags' low bits. */
	action = bpf_redirect_map(&shrike_xsks, queue, XDP_PASS);
	if (likely(action == XDP_REDIRECT)) {
		counts->redirected++;
		return action;
	}
	counts->passed_no_socket++;
	return pass(ctx);
}

static __always_inline void refuse(struct counts *counts, int error)
{
	if (error == -105) /* ENOBUFS: RX ring full */
		counts->refused_ring_full++;
	else if (error == -12) /* ENOMEM: fill ring empty */
		counts->refused_no_frame++;
	else if (error == -28) /* ENOSPC: longer than a frame */
		counts->refused_too_long++;
	else if (error == -6 || error == -22) /* ENXIO, EINVAL: the socket is being bound or unbound */
		counts->refused_unbound++;
	else
		counts->refused_other++;
}

/* args: device, program, target, error, map type, map id, key (include/trace/events/xdp.h, template xdp_redirect_template).
 * What the socket answers: net/xdp/xsk.c, xsk_rcv. */
SEC("raw_tp/xdp_redirect_err")
int shrike_refused(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 zero = 0, map = (__u32)ctx->args[5], queue = (__u32)ctx->args[6];
	int error = (int)ctx->args[3];
	__u64 *ours = bpf_map_lookup_elem(&shrike_notes, &zero);
	struct counts *counts;

	if (!ours || *ours != map)
		return 0;
	counts = slot(queue);
	if (counts)
		refuse(counts, error);
	return 0;
}

/* Where the stack begins: counts what came without having met `shrike_capture`. Nothing comes here of what is redirected. */
SEC("tc")
int shrike_bypassed(struct __sk_buff *skb)
{
	__u32 note = NOTE_NO_MARK, *mark = (__u32 *)(long)skb->data_meta;
	__u64 *blind = bpf_map_lookup_elem(&shrike_notes, &note);
	struct counts *counts;

	/* What the host itself sent to a group comes back here, from no wire. */
	if (!blind || *blind || skb->pkt_type == PACKET_LOOPBACK)
		return TCX_NEXT;
	if ((void *)(mark + 1) <= (void *)(long)skb->data && *mark == MARK)
		return TCX_NEXT;
	/* 0: the driver did not say which queue it was. */
	counts = slot(skb->queue_mapping ? skb->queue_mapping - 1 : 0);
	if (counts)
		counts->bypassed += skb->gso_segs > 1 ? skb->gso_segs : 1;
	return TCX_NEXT;
}

#include "pair.h"

char LICENSE[] SEC("license") = "GPL";
