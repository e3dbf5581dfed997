/* Read by cffi as well: declarations and `#define NAME number` only. */
#ifndef PS_PULL_API_H
#define PS_PULL_API_H
/* The receiving side of a session as one pump: raw bytes of the remote in, raw bytes for it out, no sockets. Generator and
 * receiver work in the same thread, in turns. Begins after the handshake, where multiplexing is on as the protocol has it. */
typedef struct ps_receiving ps_receiving;
struct ps_flist_decoder;
struct ps_rules;
struct ps_swarm;

/* event kinds */
#define PS_EV_FRAME 202      /* text: one frame of the extension, without its multiplex header */

/* The destination as the command line has it; NULL: only list. The rules (or NULL) must outlive the pull. */
ps_receiving *ps_receiving_new(ps_ctx *c, struct ps_rules *rules, const char *dest, size_t dest_len);
/* A daemon's: the destination, and all that its client's options name, lie beneath the module (which outlives this). */
void ps_receiving_confine(ps_receiving *p, ps_root *module);
void ps_receiving_free(ps_receiving *p);
/* The decoder, for ps_flist_decoder_imply; owned by the pull. */
struct ps_flist_decoder *ps_receiving_decoder(ps_receiving *p);

/* The receive buffer, its size in *cap. Bytes may be received into it when ps_receiving_feed last answered PS_AGAIN. */
uint8_t *ps_receiving_buffer(ps_receiving *p, size_t *cap);
/* The first len bytes of the buffer are new input; 0: go on with what is left. PS_AGAIN: used up. PS_FULL: drain log and
 * events, then call again with 0. PS_DONE: the remote has said its last. PS_FAIL. */
int ps_receiving_feed(ps_receiving *p, size_t len);
/* The same from other memory, which must stay as it is until the answer is not PS_FULL. */
int ps_receiving_feed_from(ps_receiving *p, const uint8_t *data, size_t len);
/* A slice of the generator's work, about a millisecond. PS_OK: call again. PS_AGAIN: waits for input. PS_FULL: send output,
 * drain log and events first. PS_DONE: all is over once the output is sent. PS_FAIL. */
int ps_receiving_step(ps_receiving *p);
/* Before the first input: small files may be put in place by threads of the core while the session goes on. Then, whenever
 * nothing can be received, ps_receiving_settle is to be called before waiting: PS_AGAIN: nothing was under way; PS_OK: all that was
 * is settled, so ps_receiving_step may have more to do; PS_FAIL. Not in a session with a swarm. */
void ps_receiving_write_behind(ps_receiving *p);
int ps_receiving_settle(ps_receiving *p);
/* Before the first input: from now on all data of the remote goes to the descriptor too, which stays the caller's. */
int ps_receiving_record(ps_receiving *p, int fd);
/* Output for the remote; valid until the next call. ps_receiving_sent drops its first n bytes. */
const uint8_t *ps_receiving_out(ps_receiving *p, size_t *len);
void ps_receiving_sent(ps_receiving *p, size_t n);
/* Data (filter rules, names of --files-from) and messages (frames of the extension) of Python's own. */
int ps_receiving_put(ps_receiving *p, const uint8_t *data, size_t n);
/* Bytes outside of the multiplexed stream, between what was put before and after: names of --files-from before protocol 31. */
int ps_receiving_put_plain(ps_receiving *p, const uint8_t *data, size_t n);
int ps_receiving_put_message(ps_receiving *p, uint32_t code, const uint8_t *data, size_t n);
/* io.c:maybe_send_keepalive: something without meaning for the remote, where the protocol has such a thing now. */
int ps_receiving_keep_alive(ps_receiving *p);

/* Ends at once: temporary files are removed, or kept as --partial and --partial-dir have it. exit_code (0: none) is told to
 * the remote where its protocol has that; send the output afterwards if the connection still stands. */
void ps_receiving_abort(ps_receiving *p, int32_t exit_code);
/* The swarm of this session, made at the first call (once the nomination names mirrors, before the first list ends);
 * owned by the pull. NULL: memory, or the destination is not known yet. */
struct ps_swarm *ps_receiving_swarm(ps_receiving *p);
bool ps_receiving_lists_complete(const ps_receiving *p); /* no more file lists will come */
uint64_t ps_receiving_entries(const ps_receiving *p);    /* list entries received so far */
#endif
