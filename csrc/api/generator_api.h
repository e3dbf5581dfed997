/* Read by cffi as well: declarations and `#define NAME number` only.
 * For tests: the generator driven by hand, without a receiver, and its rules for attributes. Sessions use ps_receiving. */
#ifndef PS_GEN_API_H
#define PS_GEN_API_H

#define PS_TRIAL_OK 0
#define PS_TRIAL_REDO 1
#define PS_TRIAL_FAILED 2
#define PS_TRIAL_NO_SEND 3

/* A generator over lists that a ps_flist_decoder has filled. Lists, rules (or NULL) and root must outlive it. */
typedef struct ps_gen_trial ps_gen_trial;
ps_gen_trial *ps_gen_trial_new(ps_ctx *c, ps_flists *all, ps_rules *rules, ps_root *dest /* NULL: it does not exist */);
void ps_gen_trial_free(ps_gen_trial *t);
int ps_gen_trial_step(ps_gen_trial *t); /* gen_step until it waits: PS_AGAIN, PS_FULL, PS_DONE, PS_FAIL */
/* What was written for the sender since ps_gen_trial_clear: multiplexed frames. */
const uint8_t *ps_gen_trial_out(ps_gen_trial *t, size_t *len);
void ps_gen_trial_clear(ps_gen_trial *t);
void ps_gen_trial_eof(ps_gen_trial *t); /* no more lists will come */
/* What the receiver would report. */
int ps_gen_trial_settled(ps_gen_trial *t, int32_t ndx, int how /* PS_TRIAL_* */);
int ps_gen_trial_sender_settled(ps_gen_trial *t, int32_t ndx, int how); /* by the sender's own words */
void ps_gen_trial_phase_ended(ps_gen_trial *t);
int ps_gen_trial_list_done(ps_gen_trial *t);
/* The swarm's seam: the index of a queued file, -1 none; takes it from the queue. */
int32_t ps_gen_trial_job(ps_gen_trial *t, uint32_t *iflags, int64_t *basis_size);
int ps_gen_trial_route(ps_gen_trial *t, int32_t ndx, bool swarm);

uint32_t ps_attrs_dest_mode(const ps_ctx *c, uint32_t file_mode, uint32_t stat_mode, uint32_t default_perms, bool exists);
uint32_t ps_chmod_tweak(const ps_ctx *c, uint32_t mode);
bool ps_attrs_same_time(const ps_ctx *c, int64_t a, uint32_t a_ns, int64_t b, uint32_t b_ns);
#endif
