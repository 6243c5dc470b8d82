//! LIST with all of its options, LSUB and subscriptions.

use crate::client::Client;
use crate::world::World;

/// Mailboxes as in the examples of RFC 5258 §5, subscribed to in part.
const ORCHARD: &str = "> UNSUBSCRIBE INBOX
    OK ...
    > CREATE Fruit/Apple
    OK ...
    > CREATE Fruit/Banana
    OK ...
    > CREATE Tofu
    OK ...
    > CREATE Vegetable
    OK ...
    > CREATE Vegetable/Broccoli
    OK ...
    > SUBSCRIBE Fruit/Banana
    OK ...
    > SUBSCRIBE Fruit/Peach
    OK ...
    > SUBSCRIBE Vegetable
    OK ...
    > SUBSCRIBE Vegetable/Broccoli
    OK ...";

#[tokio::test]
async fn list_selects_and_returns() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    client.clear_subscriptions().await;
    client.script(ORCHARD).await;
    client
        .script(
            "> LIST (SUBSCRIBED) \"\" *
             * LIST (\\HasNoChildren \\Subscribed) \"/\" \"Fruit/Banana\"
             * LIST (\\NonExistent \\HasNoChildren \\Subscribed) \"/\" \"Fruit/Peach\"
             * LIST (\\HasChildren \\Subscribed) \"/\" \"Vegetable\"
             * LIST (\\HasNoChildren \\Subscribed) \"/\" \"Vegetable/Broccoli\"
             OK ...
             > LIST () \"\" (Tofu Veg%) RETURN (SUBSCRIBED CHILDREN)
             * LIST (\\HasNoChildren) \"/\" \"Tofu\"
             * LIST (\\HasChildren \\Subscribed) \"/\" \"Vegetable\"
             OK ...
             > LIST (RECURSIVEMATCH SUBSCRIBED) \"\" %
             * LIST (\\NonExistent \\HasChildren) \"/\" \"Fruit\" (CHILDINFO (\"SUBSCRIBED\"))
             * LIST (\\HasChildren \\Subscribed) \"/\" \"Vegetable\" (CHILDINFO (\"SUBSCRIBED\"))
             OK ...
             > LIST (RECURSIVEMATCH) \"\" %
             BAD ...
             > LIST (REMOTE) \"\" Tofu
             * LIST (\\HasNoChildren) \"/\" \"Tofu\"
             OK ...
             > LIST (UNKNOWN) \"\" %
             BAD ...
             > LIST \"\" % RETURN (UNKNOWN)
             BAD ...
             > LIST \"\" (\"\" Tofu)
             * LIST (\\HasNoChildren) \"/\" \"Tofu\"
             OK ...
             > LIST Fruit/ %
             * LIST (\\HasNoChildren) \"/\" \"Fruit/Apple\"
             * LIST (\\HasNoChildren) \"/\" \"Fruit/Banana\"
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn lsub_tells_levels_that_are_not_subscribed_to() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    client.clear_subscriptions().await;
    client.script(ORCHARD).await;
    // RFC 3501 §6.3.9: for `%` a level whose children are subscribed to comes with \Noselect.
    client
        .script(
            "> LSUB \"\" *
             * LSUB () \"/\" \"Fruit/Banana\"
             * LSUB (\\Noselect) \"/\" \"Fruit/Peach\"
             * LSUB () \"/\" \"Vegetable\"
             * LSUB () \"/\" \"Vegetable/Broccoli\"
             OK ...
             > LSUB \"\" %
             * LSUB (\\Noselect) \"/\" \"Fruit\"
             * LSUB () \"/\" \"Vegetable\"
             OK ...
             > DELETE Fruit/Banana
             OK ...
             > LIST (SUBSCRIBED) \"\" Fruit/B*
             * LIST (\\NonExistent \\HasNoChildren \\Subscribed) \"/\" \"Fruit/Banana\"
             OK ...
             > UNSUBSCRIBE Fruit/Banana
             OK ...
             > LIST (SUBSCRIBED) \"\" Fruit/B*
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn list_tells_status_too() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    // RFC 5819 §2: no STATUS for what cannot be selected.
    client
        .script(
            "> CREATE a/b
             OK ...
             > APPEND a/b {14+}^Subject: a^^
             OK ...
             > LIST \"\" a* RETURN (STATUS (MESSAGES UNSEEN UIDNEXT))
             * LIST (\\NonExistent \\HasChildren) \"/\" \"a\"
             * LIST (\\HasNoChildren) \"/\" \"a/b\"
             * STATUS \"a/b\" (MESSAGES 1 UNSEEN 1 UIDNEXT 2)
             OK ...
             > LIST (SPECIAL-USE) \"\" Tra% RETURN (SPECIAL-USE STATUS (MESSAGES SIZE))
             * LIST (\\HasNoChildren \\Trash) \"/\" \"Trash\"
             * STATUS \"Trash\" (MESSAGES 0 SIZE 0)
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn a_pattern_that_no_name_can_be_as_finds_nothing() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    // Malformed as modified UTF-7 (RFC 3501 §5.1.3), and no fault of the command.
    client
        .script(
            "> LIST \"\" !#$$&'+,-...*
             OK ...
             > LIST \"\" (&x Sent)
             * LIST (\\HasNoChildren \\Sent) \"/\" \"Sent\"
             OK ...
             > LSUB \"\" &x
             OK ...",
        )
        .await;
}
