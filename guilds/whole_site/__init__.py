"""What holds for every app and view of the site: whom `required` admits, and what `checks` finds wrong at the start."""
