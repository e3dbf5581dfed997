/* Read by cffi as well: declarations and `#define NAME number` only.
 * What sender and receiver of a local copy share: both streams, in memory, and open files that stand for their data. One thread
 * drives the sender, another the receiver. */
#ifndef PS_LOCAL_API_H
#define PS_LOCAL_API_H
typedef struct ps_local ps_local;
struct ps_send;
struct ps_receiving;

/* bandwidth: bytes a second from the sender at most, 0 no limit. NULL: memory */
ps_local *ps_local_new(int64_t bandwidth);
void ps_local_free(ps_local *l); /* after both sides */
/* The side says nothing more: the other one still gets what is under way, then it meets the end. */
void ps_local_sender_ended(ps_local *l);
void ps_local_receiver_ended(ps_local *l);

/* Before the first step of either side: files that need no delta and no encoding may be handed over open. */
void ps_send_hands_over(struct ps_send *s, ps_local *l);
void ps_receiving_takes_over(struct ps_receiving *p, ps_local *l);

/* Works, and waits for the other side. PS_OK: log, frames and events are to be drained, then call again. PS_DONE: all is over.
 * PS_AGAIN: the other side has ended, and more was wanted of it. PS_FAIL. */
int ps_send_drive(struct ps_send *s, ps_local *l);
/* The same; it also returns with PS_OK after some tens of milliseconds, so that signals are seen. */
int ps_receiving_drive(struct ps_receiving *p, ps_local *l);
/* After a failure: what is still to be said to the sender. */
void ps_receiving_last_words(struct ps_receiving *p, ps_local *l);
#endif
