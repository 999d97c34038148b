//! Triggers and timers to due questions; outbox to delivery.
