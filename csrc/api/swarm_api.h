/* Read by cffi as well: declarations and `#define NAME number` only.
 * The client's side of nominate/1: files that join the swarm. See protocol-spec/nominate-1.md. */
#ifndef PS_SWARM_API_H
#define PS_SWARM_API_H

typedef struct ps_swarm ps_swarm;

/* events; a, b, code, text */
#define PS_EV_SWARM_BUNDLE 101 /* small files are ready to be asked for: a bundle, b bytes; code: 0 whole files, 1 gaps in them */
#define PS_EV_SWARM_RUN 102    /* missing pieces of a large file: a job, b bytes; text: first u32, last u32 (one past the last);
                                * code: 1 when most of them is there already */
#define PS_EV_SWARM_BAD 103    /* a request brought bad bytes: a request, b job; code: piece, -1 a small file. Either is among
                                * what is left of the request */
#define PS_EV_SWARM_DOUBT 105  /* what a request brought of a piece does not fit what is there already: a request, b job */
#define PS_EV_SWARM_ENDED 104  /* a: request; code: 0 all has come or is missing, 1 the source is busy; b: seconds to wait */

/* What is left of a request that ended, to be given to another source. */
typedef struct ps_leftover {
    uint32_t bundle, files; /* small files not delivered, in a new bundle; files 0: none */
    int64_t bundle_bytes;
    uint32_t missing, stale; /* of them: the source said that it has not got them, or has other versions */
    uint32_t job, first, last; /* pieces not verified yet; first == last: none */
    int64_t bytes;
    bool sparse; /* of the bundle or the pieces: small gaps */
} ps_leftover;

/* Counts, for --stats and for waiting. */
typedef struct ps_swarm_counts {
    uint32_t open;          /* jobs not settled */
    uint32_t undecided;     /* of them: without a digest answer yet */
    uint32_t pending;       /* of them: answered `pending` */
    uint32_t later;         /* of them: no-data session, no digest yet; to be asked for again */
    uint32_t local_todo;    /* of them: wait for ps_swarm_step */
    uint64_t local_bytes;   /* of bases, searched or copied */
    uint64_t delivered;     /* bytes that sources brought and that were used */
    uint32_t files;         /* settled by the swarm */
    uint32_t classic;       /* handed back to the classic transfer */
    uint32_t no_digest;     /* of them: because the origin had no digest */
} ps_swarm_counts;

/* no_data: the origin sends no file data: what it has no digest for is asked again later instead of going classic. */
/* Where the transfer's names lie within the module: "" or a path without a slash at its end. PS_FAIL: memory. */
int ps_swarm_set_prefix(ps_swarm *s, const uint8_t *prefix, size_t len);
/* The longest path, in bytes, at which a source's tree lies below its module's root: requests leave room for it. */
void ps_swarm_set_below(ps_swarm *s, uint32_t longest);
void ps_swarm_set_no_data(ps_swarm *s, bool no_data);
const ps_swarm_counts *ps_swarm_get_counts(const ps_swarm *s);

/* Takes what the generator has queued and writes digests? frames when enough has come together, or anything when `flush`.
 * The frames go to the session's output. PS_OK, PS_FAIL. */
int ps_swarm_ask(ps_swarm *s, bool flush);
/* A digests frame of the origin, without its type byte. PS_OK, PS_FAIL. */
int ps_swarm_digests(ps_swarm *s, const uint8_t *data, size_t len);
/* Local work for some milliseconds at most: opening outputs, searching bases, announcing bundles and runs.
 * PS_OK: call again; PS_AGAIN: nothing to do; PS_FULL: events must be drained; PS_FAIL. */
int ps_swarm_step(ps_swarm *s, bool flush);
/* Files answered `pending` at or before `before` (ps_swarm_now) go the classic way. */
int ps_swarm_expire_pending(ps_swarm *s, double before);
void ps_swarm_set_now(ps_swarm *s, double now); /* the caller's clock: seconds */
/* No-data session: asks again for the files that had no digest at or before `before`. */
int ps_swarm_again(ps_swarm *s, double before);
/* What has not joined the swarm goes the classic way, now and from now on (in a no-data session: is asked for later). */
int ps_swarm_stop_joining(ps_swarm *s);
/* No-data session: gives up what has no digest; the files fail (error lines). */
int ps_swarm_give_up_later(ps_swarm *s);
/* No source is left for a bundle or for a job's pieces: the files fail (error lines, exit code 23; 24 when `vanished`). */
int ps_swarm_give_up_bundle(ps_swarm *s, uint32_t bundle, bool vanished);
int ps_swarm_give_up_job(ps_swarm *s, uint32_t job, bool vanished);

/* ---- requests ---- */
/* Opens request `id` for a whole bundle, or for missing ranges of pieces [first, last) of a job. The entries for the fetcher
 * are kept until the next call: ps_swarm_entries. *taken: pieces covered end here (as many as fit one request).
 * Entry: path vstr, size u64, mtime i64, digest 32, offset u64, length u64. PS_DONE: nothing of it is missing any more. */
int ps_swarm_open_bundle(ps_swarm *s, uint32_t id, uint32_t bundle);
int ps_swarm_open_pieces(ps_swarm *s, uint32_t id, uint32_t job, uint32_t first, uint32_t last, uint32_t *taken);
const uint8_t *ps_swarm_entries(const ps_swarm *s, size_t *len, uint32_t *count, uint64_t *bytes); /* bytes: asked for */
/* Bytes of an entry of a request, as they come: in order within the entry. *used: bytes that were wanted (0 for a request
 * that is no longer open). PS_OK, PS_FULL (events), PS_FAIL. */
int ps_swarm_deliver(ps_swarm *s, uint32_t id, uint32_t entry, uint64_t offset, const uint8_t *data, size_t len, size_t *used);
/* Many at once: records of the fetcher (fetch_api.h) over shared memory of `memory_len` bytes in slots of slot_size. *done:
 * records consumed. Progress is added up per request: pairs of (request, bytes used) at ps_swarm_progress, `*pairs` of them.
 * Ended requests make PS_EV_SWARM_ENDED. PS_OK, PS_FULL (drain events, go on with the rest), PS_FAIL. */
int ps_swarm_deliver_records(ps_swarm *s, const uint8_t *memory, size_t memory_len, uint32_t slot_size, const uint8_t *records,
                             uint32_t count, uint32_t *done, uint32_t *pairs);
const uint64_t *ps_swarm_progress(const ps_swarm *s);
/* The source has not got an entry: reason as in a missing frame. */
int ps_swarm_missing(ps_swarm *s, uint32_t id, uint32_t entry, int32_t reason);
/* The request need not go beyond piece `last`. */
int ps_swarm_shrink(ps_swarm *s, uint32_t id, uint32_t last, uint64_t *end); /* *end: the offset in the file where it ends */
/* The request has ended, one way or another: what is left of it. */
int ps_swarm_close_request(ps_swarm *s, uint32_t id, ps_leftover *left);

#endif
