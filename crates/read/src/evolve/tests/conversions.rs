//! Physical forms and promotions.
