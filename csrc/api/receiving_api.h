/* Read by cffi as well: declarations and `#define NAME number` only. */
#ifndef PS_PULL_API_H
#define PS_PULL_API_H
/* The receiving side of a session as one pump: raw bytes of the remote in, raw bytes for it out, no sockets. Generator and
 * receiver work in the same thread, in turns. Begins after the handshake, where multiplexing is on in both directions. */
typedef struct ps_pull ps_pull;
struct ps_flist_decoder;
struct ps_rules;
struct ps_swarm;

/* event kinds */
#define PS_EV_IO_TIMEOUT 201 /* a: seconds that the remote allows without traffic; a shorter own --timeout stays */
#define PS_EV_FRAME 202      /* text: one frame of the extension, without its multiplex header */

/* The destination as the command line has it; NULL: only list. The rules (or NULL) must outlive the pull. */
ps_pull *ps_pull_new(ps_ctx *c, struct ps_rules *rules, const char *dest, size_t dest_len);
void ps_pull_free(ps_pull *p);
/* The decoder, for ps_flist_decoder_imply; owned by the pull. */
struct ps_flist_decoder *ps_pull_decoder(ps_pull *p);

/* The receive buffer, its size in *cap. Bytes may be received into it when ps_pull_feed last answered PS_AGAIN. */
uint8_t *ps_pull_buffer(ps_pull *p, size_t *cap);
/* The first len bytes of the buffer are new input; 0: go on with what is left. PS_AGAIN: used up. PS_FULL: drain log and
 * events, then call again with 0. PS_DONE: the remote has said its last. PS_FAIL. */
int ps_pull_feed(ps_pull *p, size_t len);
/* The same from other memory, which must stay as it is until the answer is not PS_FULL. */
int ps_pull_feed_from(ps_pull *p, const uint8_t *data, size_t len);
/* A slice of the generator's work, about a millisecond. PS_OK: call again. PS_AGAIN: waits for input. PS_FULL: send output,
 * drain log and events first. PS_DONE: all is over once the output is sent. PS_FAIL. */
int ps_pull_step(ps_pull *p);
/* Before the first input: small files may be put in place by threads of the core while the session goes on. Then, whenever
 * nothing can be received, ps_pull_settle is to be called before waiting: PS_AGAIN: nothing was under way; PS_OK: all that was
 * is settled, so ps_pull_step may have more to do; PS_FAIL. Not in a session with a swarm. */
void ps_pull_write_behind(ps_pull *p);
int ps_pull_settle(ps_pull *p);
/* Output for the remote; valid until the next call. ps_pull_sent drops its first n bytes. */
const uint8_t *ps_pull_out(ps_pull *p, size_t *len);
void ps_pull_sent(ps_pull *p, size_t n);
/* Data (filter rules, names of --files-from) and messages (frames of the extension) of Python's own. */
int ps_pull_put(ps_pull *p, const uint8_t *data, size_t n);
int ps_pull_put_message(ps_pull *p, uint32_t code, const uint8_t *data, size_t n);

/* Ends at once: temporary files are removed, or kept as --partial and --partial-dir have it. exit_code (0: none) is told to
 * the remote where its protocol has that; send the output afterwards if the connection still stands. */
void ps_pull_abort(ps_pull *p, int32_t exit_code);
/* The swarm of this session, made at the first call (once the nomination names mirrors, before the first list ends);
 * owned by the pull. NULL: memory, or the destination is not known yet. */
struct ps_swarm *ps_pull_swarm(ps_pull *p);
bool ps_pull_lists_complete(const ps_pull *p); /* no more file lists will come */
uint64_t ps_pull_entries(const ps_pull *p);    /* list entries received so far */
#endif
