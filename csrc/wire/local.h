/* The streams of a local copy, and the files handed over in place of their data: shared by two threads. */
#ifndef PS_LOCAL_H
#define PS_LOCAL_H
#include "wire/mux.h"

#include "api/local_api.h"

/* In a plain stream of tokens a block of this number stands for the data of the next file that was handed over. Never on a
 * wire: it is beyond PS_LIMIT_BLOCKS. */
#define PS_BLOCK_OF_FILE INT32_MAX

typedef struct local_file {
    int fd;
    i64 size;
} local_file;

/* ---- the sender's thread ---- */
/* Moves all of the output to the receiver, and waits while that has enough. The buffer is exchanged for an empty one. */
bool local_send(ps_local *l, ps_buf *out); /* false: memory */
/* The receiver's next bytes, into `in`, which is cleared first; waits for them. false: it has ended. */
bool local_answers(ps_local *l, ps_buf *in);
bool local_hand_over(ps_local *l, local_file f); /* false: there are enough of them; local_wait_for_room waits */
void local_wait_for_room(ps_local *l);

/* ---- the receiver's thread ---- */
bool local_answer(ps_local *l, const u8 *data, size_t n); /* false: memory */
typedef enum { LOCAL_NOTHING, LOCAL_DATA, LOCAL_ENDED } local_state;
/* The sender's next bytes; the buffer stays the same until the next call. wait: milliseconds; while_busy: not once the sender waits
 * for us. */
local_state local_receive(ps_local *l, int wait, bool while_busy, const u8 **data, size_t *n);
size_t local_waiting(ps_local *l); /* bytes of answers that the sender has not taken */
bool local_take_over(ps_local *l, local_file *f); /* false: none was handed over */
#endif
