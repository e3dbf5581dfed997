/* Read by cffi as well: declarations and `#define NAME number` only.
 * The daemon's side of nominate/1: digest answers within a session, and peer connections. See protocol-spec/nominate-1.md. */
#ifndef PS_SERVE_API_H
#define PS_SERVE_API_H
struct ps_send;
struct ps_rules;
struct ps_root;
struct ps_index;

/* ---- digests within a session with a client ---- */
typedef struct ps_digester ps_digester;
/* All of it stays the caller's and outlives the digester. index NULL: every answer is `no`. */
ps_digester *ps_digester_new(ps_ctx *c, struct ps_send *send, struct ps_root *root, struct ps_index *index);
void ps_digester_free(ps_digester *d);
/* A digests? frame without its type byte. PS_OK, PS_FAIL. */
int ps_digester_ask(ps_digester *d, const uint8_t *data, size_t len);
/* Writes answers while the session's output is below its high-water mark. PS_OK: more is to be said, PS_AGAIN: all is answered
 * or pending, PS_FULL: output first, PS_FAIL. */
int ps_digester_step(ps_digester *d);
/* Looks again for what is pending; with give_up what is still unknown is answered `no`. Then call ps_digester_step. */
int ps_digester_retry(ps_digester *d, bool give_up);
uint32_t ps_digester_pending(const ps_digester *d);
/* Files whose digests were given, and their sizes together. */
void ps_digester_given(const ps_digester *d, uint32_t *files, uint64_t *bytes);
/* Files whose digests are wanted of the indexer: u8 flags (PS_INDEX_SUMS), name, NUL; and so on. Valid until cleared. */
const uint8_t *ps_digester_wanted(const ps_digester *d, size_t *len);
void ps_digester_wanted_clear(ps_digester *d);

/* ---- a peer connection, after its handshake ---- */
typedef struct ps_peer ps_peer;
typedef struct ps_peer_counts {
    uint64_t data;    /* file bytes sent */
    uint32_t files, missing, busy;
    uint32_t queued;  /* fetches not answered yet */
} ps_peer_counts;
/* rules: the daemon's own, or NULL; index NULL: every fetch is answered `missing`. */
ps_peer *ps_peer_new(ps_ctx *c, struct ps_rules *rules, struct ps_root *root, struct ps_index *index);
void ps_peer_free(ps_peer *p);
/* As ps_send_feed and ps_send_step. PS_DONE: after bye. */
int ps_peer_feed(ps_peer *p, const uint8_t *data, size_t len);
int ps_peer_step(ps_peer *p);
const uint8_t *ps_peer_out(ps_peer *p, size_t *len);
void ps_peer_sent(ps_peer *p, size_t n);
int ps_peer_put_frame(ps_peer *p, const uint8_t *data, size_t len);
/* Frames for Python (all but fetch): u32 length, bytes; and so on. */
const uint8_t *ps_peer_frames(const ps_peer *p, size_t *len);
void ps_peer_frames_clear(ps_peer *p);
#define PS_PEER_ASK 4294967295 /* ps_peer_set_busy: a fetch makes the step answer PS_FULL until it is called again */
/* seconds > 0: fetches are answered `busy` (no slot is free); 0: served; PS_PEER_ASK: whether a slot is free is found out at the
 * next one. */
void ps_peer_set_busy(ps_peer *p, uint32_t seconds);
const ps_peer_counts *ps_peer_get_counts(const ps_peer *p);
const uint8_t *ps_peer_wanted(const ps_peer *p, size_t *len);
void ps_peer_wanted_clear(ps_peer *p);
#endif
