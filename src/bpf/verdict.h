/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
 *
 * Verdicts: which frames are dropped, limited or shunted before anybody looks at them. One path, each part of which is
 * skipped while its map is empty. Layouts: src/dataplane/capture/xdp/verdicts.
 */
#ifndef SHRIKE_VERDICT_H
#define SHRIKE_VERDICT_H

enum { VERDICT_DROP = 1, VERDICT_LIMIT, VERDICT_SHUNT, VERDICT_PASS, VERDICT_ISOLATE };
enum { SIDE_SOURCE = 1, SIDE_DESTINATION = 2 };

struct verdict {
	__u64 until_ns; /* 0: without end */
	__u32 action;
	__u16 sides;
	__u16 prefix_bits; /* of its key, for user space: a trie answers with what is longest and not with what it was asked for */
	/* A limit, as the generic cell rate algorithm has it (ITU-T I.371): time between two packets, and how far the
	 * time at which the next is due may run ahead. Of a shunt: packets (due_ns) and bytes (ahead_ns) from the greater end. */
	__u64 interval_ns;
	__u64 ahead_ns;
	__u64 due_ns;
	__u64 packets;
	__u64 bytes;
	__u64 last_ns;
	__u32 per_second; /* a limit as it was asked for, for user space */
	__u32 burst;
};

/* How many entries each map has, so that an empty one costs a compare. */
struct verdict_counts {
	__u64 macs;
	__u64 flows;
	__u64 signatures;
	__u64 prefixes_4;
	__u64 prefixes_6;
	__u64 reserved[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct verdict_counts);
} verdict_counts SEC(".maps");

struct mac_key {
	__u8 card[6];
	__u16 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct mac_key);
	__type(value, struct verdict);
} verdict_macs SEC(".maps");

/* Addresses and ports in network order, the lesser end (address, then port, as bytes) first; IPv4 as ::ffff:a.b.c.d. */
struct flow_end {
	__u64 address[2];
	__u16 port;
	__u16 zero[3];
};

struct flow_key {
	struct flow_end ends[2];
	__u64 protocol;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct flow_key);
	__type(value, struct verdict);
} verdict_flows SEC(".maps");

struct signature_key {
	__u64 destination[2];
	__u16 port;
	__u8 protocol;
	__u8 only_syn;
	__u32 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct signature_key);
	__type(value, struct verdict);
} verdict_signatures SEC(".maps");

struct prefix_4_key {
	__u32 bits;
	__u32 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2097152);
	__type(key, struct prefix_4_key);
	__type(value, struct verdict);
} verdict_prefixes_4 SEC(".maps");

struct prefix_6_key {
	__u32 bits;
	__u8 address[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2097152);
	__type(key, struct prefix_6_key);
	__type(value, struct verdict);
} verdict_prefixes_6 SEC(".maps");

/* Sources that proved that they get what is sent to them: a limit on a signature is not theirs, but each has one of its own, or
 * whoever writes their addresses would have none. The least recently used give way. */
#define PROVEN_INTERVAL_NS 10000000ull /* a hundred packets a second */
#define PROVEN_AHEAD_NS 1000000000ull  /* and a hundred at once */

struct proven {
	__u64 until_ns;
	__u64 due_ns;
};

struct proven_key {
	__u64 address[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct proven_key);
	__type(value, struct proven);
} verdict_proven SEC(".maps");

enum judged { JUDGED_PASS, JUDGED_MAC, JUDGED_FLOW, JUDGED_SIGNATURE, JUDGED_PREFIX, JUDGED_SHUNT };

static __always_inline void hit(struct verdict *verdict, __u64 now, __u64 bytes)
{
	__sync_fetch_and_add(&verdict->packets, 1);
	__sync_fetch_and_add(&verdict->bytes, bytes);
	verdict->last_ns = now;
}

/* A verdict that was found, if it is still in force. */
static __always_inline struct verdict *in_force(struct verdict *verdict, __u64 now)
{
	return verdict && (!verdict->until_ns || now < verdict->until_ns) ? verdict : 0;
}

/* Whether a verdict in force drops this frame. `is_excepted`: its other end is one that isolated hosts may reach. */
static __always_inline int drops(struct verdict *verdict, __u64 now, __u64 bytes, int is_excepted)
{
	__u64 due, start;

	switch (verdict->action) {
	case VERDICT_DROP:
		break;
	case VERDICT_ISOLATE:
		if (is_excepted)
			return 0;
		break;
	case VERDICT_LIMIT:
		due = *(volatile __u64 *)&verdict->due_ns;
		start = due > now ? due : now;
		/* Where another CPU was quicker its packet took the place; this one goes as well: at most one too many a race. */
		if (start - now <= verdict->ahead_ns) {
			__sync_val_compare_and_swap(&verdict->due_ns, due, start + verdict->interval_ns);
			return 0;
		}
		break;
	default:
		return 0;
	}
	hit(verdict, now, bytes);
	return 1;
}

/* Tags, labels of MPLS and headers of extension that are followed. */
#define TAGS_MAX 4
#define LABELS_MAX 4
#define EXTENSIONS_MAX 4

/* The heads of a frame, as far as verdicts go. */
struct heads {
	__u64 source[2];
	__u64 destination[2];
	__u16 source_port;
	__u16 destination_port;
	__u8 protocol;
	__u8 has_ports; /* also 1 for protocols without ports: the flow's are 0 then */
	__u8 is_opening; /* SYN without ACK */
	__u8 is_change;  /* FIN, SYN or RST: what the worker has to see of a flow that is shunted */
	__u8 is_resolution; /* ARP, or the same of IPv6: without it nobody reaches whom an isolated host may reach */
	__u8 version; /* 0: no IP */
};

#define MAPPED_4 0xffff0000ull /* bytes 8 to 11 of ::ffff:0:0/96, in memory order on a little-endian machine */

static __always_inline void read_heads(struct xdp_md *ctx, struct heads *heads)
{
	__u8 *data = (__u8 *)(long)ctx->data;
	__u8 *end = (__u8 *)(long)ctx->data_end;
	__u32 offset = 14;
	__u16 type;
	__u8 *ip, *transport;
	__u8 protocol;

	if (data + 14 > end)
		return;
	type = (data[12] << 8) | data[13];
#pragma unroll
	for (int tag = 0; tag < TAGS_MAX; tag++) {
		if (type != 0x8100 && type != 0x88a8 && type != 0x9100)
			break;
		if (data + offset + 4 > end)
			return;
		type = (data[offset + 2] << 8) | data[offset + 3];
		offset += 4;
	}
	if (type == 0x8864) {
		/* A session of PPPoE: six bytes, and which protocol of PPP (RFC 2516 section 4, RFC 1332, RFC 5072). */
		if (data + offset + 8 > end)
			return;
		type = (data[offset + 6] << 8) | data[offset + 7];
		type = type == 0x0021 ? 0x0800 : type == 0x0057 ? 0x86dd : 0;
		offset += 8;
	} else if (type == 0x8847 || type == 0x8848) {
		/* Labels up to the last of the stack (RFC 3032 section 2.1); what follows tells its version by itself. */
		type = 0;
#pragma unroll
		for (int label = 0; label < LABELS_MAX; label++) {
			if (data + offset + 5 > end)
				return;
			offset += 4;
			if (data[offset - 2] & 1) {
				type = (data[offset] & 0xf0) == 0x40 ? 0x0800 : (data[offset] & 0xf0) == 0x60 ? 0x86dd : 0;
				break;
			}
		}
	}
	heads->is_resolution = type == 0x0806;
	ip = data + offset;
	if (type == 0x0800) {
		__u32 address, header;

		if (ip + 20 > end)
			return;
		header = (ip[0] & 15) * 4;
		__builtin_memcpy(&address, ip + 12, 4);
		heads->source[0] = 0;
		heads->source[1] = MAPPED_4 | (__u64)address << 32;
		__builtin_memcpy(&address, ip + 16, 4);
		heads->destination[0] = 0;
		heads->destination[1] = MAPPED_4 | (__u64)address << 32;
		heads->version = 4;
		protocol = ip[9];
		heads->protocol = protocol;
		/* A later fragment has no ports. */
		if (((ip[6] & 0x1f) | ip[7]) != 0 || header < 20)
			return;
		transport = ip + header;
	} else if (type == 0x86dd) {
		if (ip + 40 > end)
			return;
		__builtin_memcpy(heads->source, ip + 8, 16);
		__builtin_memcpy(heads->destination, ip + 24, 16);
		heads->version = 6;
		protocol = ip[6];
		transport = ip + 40;
#pragma unroll
		for (int number = 0; number < EXTENSIONS_MAX; number++) {
			__u32 length;

			/* Hop-by-hop, routing, destination options (RFC 8200); a fragment that is not the first has no ports. */
			if (protocol != 0 && protocol != 43 && protocol != 60 && protocol != 44)
				break;
			if (transport + 8 > end)
				return;
			if (protocol == 44 && (transport[2] | (transport[3] & 0xf8)) != 0) {
				heads->protocol = transport[0];
				return;
			}
			length = protocol == 44 ? 8 : ((__u32)transport[1] + 1) * 8;
			protocol = transport[0];
			transport += length;
		}
		heads->protocol = protocol;
	} else {
		return;
	}
	if (protocol == 6 || protocol == 17) {
		if (transport + 4 > end)
			return;
		__builtin_memcpy(&heads->source_port, transport, 2);
		__builtin_memcpy(&heads->destination_port, transport + 2, 2);
		if (protocol == 6 && transport + 14 <= end)
		{
			heads->is_opening = (transport[13] & 0x12) == 0x02;
			heads->is_change = (transport[13] & 0x07) != 0;
		}
	}
	/* Solicitations and advertisements of routers and neighbours (RFC 4861). */
	if (heads->version == 6 && protocol == 58 && transport + 1 <= end)
		heads->is_resolution = transport[0] >= 133 && transport[0] <= 136;
	heads->has_ports = 1;
}

/* Is a's end the lesser, as bytes in memory? */
static __always_inline int is_less(const __u64 a[2], __u16 a_port, const __u64 b[2], __u16 b_port)
{
	__u64 left = __builtin_bswap64(a[0]), right = __builtin_bswap64(b[0]);

	if (left != right)
		return left < right;
	left = __builtin_bswap64(a[1]);
	right = __builtin_bswap64(b[1]);
	if (left != right)
		return left < right;
	return __builtin_bswap16(a_port) < __builtin_bswap16(b_port);
}

/* The verdict on the longest prefix round one of the addresses, if it is about that side and in force. */
static __always_inline struct verdict *prefix(const struct heads *heads, int of_destination,
					      const struct verdict_counts *there, __u64 now)
{
	const __u64 *address = of_destination ? heads->destination : heads->source;
	struct verdict *verdict = 0;

	if (heads->version == 4 && there->prefixes_4) {
		struct prefix_4_key key = { .bits = 32, .address = (__u32)(address[1] >> 32) };
		verdict = bpf_map_lookup_elem(&verdict_prefixes_4, &key);
	} else if (heads->version == 6 && there->prefixes_6) {
		struct prefix_6_key key = { .bits = 128 };
		__builtin_memcpy(key.address, address, 16);
		verdict = bpf_map_lookup_elem(&verdict_prefixes_6, &key);
	}
	if (!verdict || !(verdict->sides & (of_destination ? SIDE_DESTINATION : SIDE_SOURCE)))
		return 0;
	return in_force(verdict, now);
}

/* The verdict on either card, if in force. */
static __always_inline struct verdict *card(struct xdp_md *ctx, __u64 now)
{
	__u8 *data = (__u8 *)(long)ctx->data;
	struct mac_key key = {};
	struct verdict *verdict;

	if (data + 12 > (__u8 *)(long)ctx->data_end)
		return 0;
	__builtin_memcpy(key.card, data + 6, 6);
	verdict = in_force(bpf_map_lookup_elem(&verdict_macs, &key), now);
	if (verdict)
		return verdict;
	__builtin_memcpy(key.card, data, 6);
	return in_force(bpf_map_lookup_elem(&verdict_macs, &key), now);
}

/* Whether a source is one that proved itself, and within what it may send. */
static __always_inline int is_vouched(const struct heads *heads, __u64 now)
{
	struct proven_key key = {};
	struct proven *proven;
	__u64 due, start;

	__builtin_memcpy(key.address, heads->source, 16);
	proven = bpf_map_lookup_elem(&verdict_proven, &key);
	if (!proven || now >= proven->until_ns)
		return 0;
	due = *(volatile __u64 *)&proven->due_ns;
	start = due > now ? due : now;
	if (start - now > PROVEN_AHEAD_NS)
		return 0;
	/* As for limits: at most one too many a race. */
	__sync_val_compare_and_swap(&proven->due_ns, due, start + PROVEN_INTERVAL_NS);
	return 1;
}

/* What the verdicts say of a frame. */
static __always_inline enum judged judge(struct xdp_md *ctx, __u64 now, __u64 bytes)
{
	__u32 zero = 0;
	const struct verdict_counts *there = bpf_map_lookup_elem(&verdict_counts, &zero);
	struct verdict *mac = 0, *verdict, *source, *destination;
	struct heads heads = {};
	int to_excepted, from_excepted;

	if (!there || likely(!(there->macs | there->flows | there->signatures | there->prefixes_4 | there->prefixes_6)))
		return JUDGED_PASS;
	if (there->macs)
		mac = card(ctx, now);
	read_heads(ctx, &heads);
	if (!heads.version) /* no address, so no exception */
		return mac && drops(mac, now, bytes, heads.is_resolution) ? JUDGED_MAC : JUDGED_PASS;
	source = prefix(&heads, 0, there, now);
	destination = prefix(&heads, 1, there, now);
	from_excepted = (source && source->action == VERDICT_PASS) || heads.is_resolution;
	to_excepted = (destination && destination->action == VERDICT_PASS) || heads.is_resolution;
	if (mac && drops(mac, now, bytes, from_excepted || to_excepted))
		return JUDGED_MAC;
	if (there->flows && heads.has_ports) {
		struct flow_key key = {};
		int from_greater = 0;

		if (is_less(heads.source, heads.source_port, heads.destination, heads.destination_port)) {
			__builtin_memcpy(key.ends[0].address, heads.source, 16);
			__builtin_memcpy(key.ends[1].address, heads.destination, 16);
			key.ends[0].port = heads.source_port;
			key.ends[1].port = heads.destination_port;
		} else {
			from_greater = 1;
			__builtin_memcpy(key.ends[0].address, heads.destination, 16);
			__builtin_memcpy(key.ends[1].address, heads.source, 16);
			key.ends[0].port = heads.destination_port;
			key.ends[1].port = heads.source_port;
		}
		key.protocol = heads.protocol;
		verdict = in_force(bpf_map_lookup_elem(&verdict_flows, &key), now);
		if (verdict && verdict->action == VERDICT_SHUNT && heads.is_change) {
			/* The flow begins anew or ends: from here on the worker sees all of it. */
			verdict->until_ns = 1;
		} else if (verdict && verdict->action == VERDICT_SHUNT) {
			/* What is blocked stays so, whatever was trusted before. */
			if ((source && drops(source, now, bytes, to_excepted)) ||
			    (destination && drops(destination, now, bytes, from_excepted)))
				return JUDGED_PREFIX;
			hit(verdict, now, bytes);
			if (from_greater) {
				__sync_fetch_and_add(&verdict->due_ns, 1);
				__sync_fetch_and_add(&verdict->ahead_ns, bytes);
			}
			return JUDGED_SHUNT;
		} else if (verdict && drops(verdict, now, bytes, 0))
			return JUDGED_FLOW;
	}
	if (there->signatures) {
		struct signature_key key = { .protocol = heads.protocol };
		int vouched = -1;

		__builtin_memcpy(key.destination, heads.destination, 16);
		/* An opening to any port and to this one; any packet to any port and to this one. */
#pragma unroll
		for (int turn = 0; turn < 4; turn++) {
			key.port = turn & 1 ? heads.destination_port : 0;
			key.only_syn = turn < 2;
			if (turn < 2 && !heads.is_opening)
				continue;
			verdict = in_force(bpf_map_lookup_elem(&verdict_signatures, &key), now);
			if (verdict && verdict->action == VERDICT_LIMIT) {
				if (vouched < 0)
					vouched = is_vouched(&heads, now);
				if (vouched)
					continue;
			}
			if (verdict && drops(verdict, now, bytes, 0))
				return JUDGED_SIGNATURE;
		}
	}
	if (source && drops(source, now, bytes, to_excepted))
		return JUDGED_PREFIX;
	if (destination && drops(destination, now, bytes, from_excepted))
		return JUDGED_PREFIX;
	return JUDGED_PASS;
}

#endif
