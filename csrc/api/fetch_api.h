/* Read by cffi as well: declarations and `#define NAME number` only.
 * The fetcher's side: what sources send goes into shared memory, described by records for the main process. */
#ifndef PS_FETCH_API_H
#define PS_FETCH_API_H

/* A record, 32 bytes little-endian: slot u32, offset u32, length u32, request u32, entry u32, kind u32, file offset u64. */
#define PS_RECORD_BYTES 32
#define PS_RECORD_DATA 0    /* length bytes lie at offset of the slot */
#define PS_RECORD_MISSING 1 /* the entry is not to be had; length: reason as in a missing frame */
#define PS_RECORD_DONE 2    /* the request has ended: every entry has come or is missing */
#define PS_RECORD_BUSY 3    /* nothing more of the request will come; length: seconds to wait */

typedef struct ps_fetch_memory ps_fetch_memory;
/* base: slots × slot_size bytes, shared with the main process, the caller's. */
ps_fetch_memory *ps_fetch_memory_new(uint8_t *base, uint32_t slot_size, uint32_t slots);
void ps_fetch_memory_free(ps_fetch_memory *m);
/* Records not yet handed over; cleared by ps_fetch_memory_taken. */
const uint8_t *ps_fetch_memory_records(const ps_fetch_memory *m, uint32_t *count);
void ps_fetch_memory_taken(ps_fetch_memory *m);
/* The main process is through with the oldest `records` records that were handed over. */
int ps_fetch_memory_consumed(ps_fetch_memory *m, uint32_t records);
uint32_t ps_fetch_memory_free_slots(const ps_fetch_memory *m);

/* One peer connection, after its handshake. */
typedef struct ps_fetch ps_fetch;
ps_fetch *ps_fetch_new(ps_ctx *c, ps_fetch_memory *m);
void ps_fetch_free(ps_fetch *f);
/* Entries as ps_swarm_entries gives them. The range ends of an entry may be cut by ps_fetch_cancel only. */
int ps_fetch_request(ps_fetch *f, uint32_t id, const uint8_t *entries, size_t len, uint32_t count);
/* What still comes of the request is read over; there will be no more records of it. */
void ps_fetch_cancel(ps_fetch *f, uint32_t id);
/* As ps_send_feed. Step: PS_AGAIN needs a feed; PS_FULL: no slot is free, or frames are to be taken; PS_DONE after bye. */
int ps_fetch_feed(ps_fetch *f, const uint8_t *data, size_t len);
/* The same without a copy: a place in the shared memory for the next bytes, to be received there and fed by ps_fetch_placed. Only
 * when a feed is due; NULL: no slot is free. */
uint8_t *ps_fetch_room(ps_fetch *f, size_t *len);
int ps_fetch_placed(ps_fetch *f, size_t len);
int ps_fetch_step(ps_fetch *f);
const uint8_t *ps_fetch_out(ps_fetch *f, size_t *len);
void ps_fetch_sent(ps_fetch *f, size_t n);
int ps_fetch_put_frame(ps_fetch *f, const uint8_t *data, size_t len);
const uint8_t *ps_fetch_frames(const ps_fetch *f, size_t *len); /* u32 length, bytes; and so on */
void ps_fetch_frames_clear(ps_fetch *f);
uint32_t ps_fetch_open_requests(const ps_fetch *f);

/* One session with a stock rsyncd; begins where multiplexing is on. append: ranges of one file, which the
 * session has listed as its only argument (rsync's --append, protocol-spec/classic.md: ranges), and is cut after the last; else
 * files by --files-from, each sent from its first range to its end (with --append where that is not its beginning). Ranges of a
 * file follow each other. The context holds the negotiated parameters. */
typedef struct ps_rsyncd ps_rsyncd;
ps_rsyncd *ps_rsyncd_new(ps_ctx *c, ps_fetch_memory *m, uint32_t request, const uint8_t *entries, size_t len, uint32_t count,
                         bool append);
void ps_rsyncd_free(ps_rsyncd *r);
/* Another request for files by --files-from that the session serves, before its first step. False: it cannot be read, or there are
 * too many of them. */
bool ps_rsyncd_add(ps_rsyncd *r, uint32_t request, const uint8_t *entries, size_t len, uint32_t count);
/* The session serves a part of the request: `first`, the number of its first entry; the DONE record follows the `last` part. */
void ps_rsyncd_part(ps_rsyncd *r, uint32_t first, bool last);
/* As ps_fetch_feed and ps_fetch_step. PS_DONE: everything that was asked for has come or is missing (DONE records say so); a
 * session of whole files has been told to end. */
int ps_rsyncd_feed(ps_rsyncd *r, const uint8_t *data, size_t len);
int ps_rsyncd_step(ps_rsyncd *r);
/* append: bytes from offset `end` of the file on are not wanted any more. */
void ps_rsyncd_shrink(ps_rsyncd *r, uint64_t end);
const uint8_t *ps_rsyncd_out(ps_rsyncd *r, size_t *len);
void ps_rsyncd_sent(ps_rsyncd *r, size_t n);
#endif
